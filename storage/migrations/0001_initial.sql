-- The domain's tables. Times are integers: milliseconds since 1970-01-01 UTC. JSON is text.
-- `autoincrement` does not give ids (the store does): it remembers the highest one, so that none comes back after a delete.

create table meta (key text primary key, value text not null) without rowid;

create table accounts (
    id integer primary key autoincrement,
    name text not null,
    status text not null default 'active',
    settings text not null default '{}',
    last_seq integer not null default 0,          -- the account's own log: contacts, members
    last_display_id integer not null default 0,   -- conversations are numbered per account
    created_at integer not null
);

create table users (
    id integer primary key autoincrement,
    account_id integer,                           -- that made the user; a user may belong to several
    email text not null unique,                   -- lower case
    name text not null,
    password_hash text,
    created_at integer not null
);

create table account_users (
    account_id integer not null references accounts (id),
    user_id integer not null references users (id),
    role text not null,
    created_at integer not null,
    primary key (account_id, user_id)
) without rowid;
create index account_users_by_user on account_users (user_id);

create table inboxes (
    id integer primary key autoincrement,
    account_id integer not null references accounts (id),
    name text not null,
    identifier text not null unique,              -- public: names the inbox to visitors, opens nothing else
    created_at integer not null,
    updated_at integer not null
);
create index inboxes_by_account on inboxes (account_id, id);

create table inbox_members (
    account_id integer not null,
    inbox_id integer not null references inboxes (id),
    user_id integer not null references users (id),
    primary key (inbox_id, user_id)
) without rowid;
create index inbox_members_by_account on inbox_members (account_id);

create table contacts (
    id integer primary key autoincrement,
    account_id integer not null references accounts (id),
    name text not null,
    email text,
    phone text,
    identifier text,
    blocked integer not null default 0,
    custom_attributes text not null default '{}',
    created_at integer not null,
    updated_at integer not null
);
create index contacts_by_account on contacts (account_id, id);
create unique index contacts_by_identifier on contacts (account_id, identifier) where identifier is not null;
create index contacts_blocked on contacts (account_id) where blocked;
create unique index contacts_by_email on contacts (account_id, email) where email is not null;

create table conversations (
    id integer primary key autoincrement,
    account_id integer not null references accounts (id),
    inbox_id integer not null references inboxes (id),
    contact_id integer not null references contacts (id),
    display_id integer not null,
    status text not null default 'open',
    priority text,
    assignee_id integer,
    labels text not null default '[]',
    custom_attributes text not null default '{}',
    snoozed_until integer,
    last_seq integer not null default 0,          -- the fence: a batch is written only where this is what its actor read
    last_message_seq integer not null default 0,
    last_activity_at integer not null,
    created_at integer not null,
    updated_at integer not null,
    deleted_at integer,
    unique (account_id, display_id)
);
create index conversations_by_activity on conversations (account_id, last_activity_at, id);
create index conversations_by_update on conversations (account_id, updated_at, id);
create index conversations_by_contact on conversations (account_id, contact_id, id);

-- The log of a conversation is one sequence in two tables: a created message is its row, every other change is an event.
create table messages (
    conversation_id integer not null references conversations (id),
    seq integer not null,
    account_id integer not null,
    inbox_id integer not null,
    message_type text not null,
    content_type text not null,
    content text,
    content_attributes text,
    private integer not null,
    sender_type text not null,
    sender_id integer,
    sender_name text,
    client_id text,
    created_at integer not null,
    edited_at integer,
    deleted_at integer,
    primary key (conversation_id, seq)
) without rowid;
create unique index messages_by_client_id on messages (conversation_id, client_id) where client_id is not null;

create table events (
    conversation_id integer not null references conversations (id),
    seq integer not null,
    account_id integer not null,
    inbox_id integer not null,
    type text not null,
    actor_type text not null,
    actor_id integer,
    actor_name text,
    message_seq integer,                          -- the message that the event is about
    private integer not null,                     -- not for visitors
    data text not null,
    created_at integer not null,
    primary key (conversation_id, seq)
) without rowid;

create table account_events (
    account_id integer not null references accounts (id),
    seq integer not null,
    type text not null,
    actor_type text not null,
    actor_id integer,
    data text not null,
    created_at integer not null,
    primary key (account_id, seq)
) without rowid;
create index account_events_by_time on account_events (account_id, created_at);

create table read_cursors (
    account_id integer not null,
    conversation_id integer not null references conversations (id),
    reader_type text not null,
    reader_id integer not null,
    seq integer not null,
    updated_at integer not null,
    primary key (conversation_id, reader_type, reader_id)
) without rowid;

create table tokens (
    id integer primary key autoincrement,
    account_id integer,                           -- a visitor's account; a user's token is valid in all accounts of the user
    hash text not null unique,                    -- SHA-256 of the token: the token itself is never stored
    kind text not null,
    user_id integer references users (id),
    contact_id integer references contacts (id),
    inbox_id integer references inboxes (id),
    created_at integer not null,
    expires_at integer
);
create index tokens_by_user on tokens (user_id) where user_id is not null;
create index tokens_by_contact on tokens (contact_id) where contact_id is not null;
