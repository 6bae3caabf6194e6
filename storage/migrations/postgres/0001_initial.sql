-- The domain's tables, as SQLite has them. Times are integers: milliseconds since 1970-01-01 UTC. JSON is text.

create table meta (key text primary key, value text not null);

-- The number of the last migration.
create table tertulia_schema (version integer not null);

create table accounts (
    id bigint primary key,
    name text not null,
    status text not null default 'active',
    settings text not null default '{}',
    last_seq bigint not null default 0,           -- the account's own log: contacts, members
    last_display_id bigint not null default 0,    -- conversations are numbered per account
    created_at bigint not null
);

create table users (
    id bigint primary key,
    account_id bigint,                            -- that made the user; a user may belong to several
    email text not null unique,                   -- lower case
    name text not null,
    password_hash text,
    created_at bigint not null
);

create table account_users (
    account_id bigint not null references accounts (id),
    user_id bigint not null references users (id),
    role text not null,
    created_at bigint not null,
    primary key (account_id, user_id)
);
create index account_users_by_user on account_users (user_id);

create table inboxes (
    id bigint primary key,
    account_id bigint not null references accounts (id),
    name text not null,
    identifier text not null unique,              -- public: names the inbox to visitors, opens nothing else
    created_at bigint not null,
    updated_at bigint not null
);
create index inboxes_by_account on inboxes (account_id, id);

create table inbox_members (
    account_id bigint not null,
    inbox_id bigint not null references inboxes (id),
    user_id bigint not null references users (id),
    primary key (inbox_id, user_id)
);
create index inbox_members_by_account on inbox_members (account_id);

create table contacts (
    id bigint primary key,
    account_id bigint not null references accounts (id),
    name text not null,
    email text,
    phone text,
    identifier text,
    blocked boolean not null default false,
    custom_attributes text not null default '{}',
    created_at bigint not null,
    updated_at bigint not null
);
create index contacts_by_account on contacts (account_id, id);
create unique index contacts_by_identifier on contacts (account_id, identifier) where identifier is not null;
create index contacts_blocked on contacts (account_id) where blocked;
create unique index contacts_by_email on contacts (account_id, email) where email is not null;

create table conversations (
    id bigint primary key,
    account_id bigint not null references accounts (id),
    inbox_id bigint not null references inboxes (id),
    contact_id bigint not null references contacts (id),
    display_id bigint not null,
    status text not null default 'open',
    priority text,
    assignee_id bigint,
    labels text not null default '[]',
    custom_attributes text not null default '{}',
    snoozed_until bigint,
    last_seq bigint not null default 0,           -- the fence: a batch is written only where this is what its actor read
    last_message_seq bigint not null default 0,
    last_activity_at bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint,
    unique (account_id, display_id)
);
create index conversations_by_activity on conversations (account_id, last_activity_at, id);
create index conversations_by_update on conversations (account_id, updated_at, id);
create index conversations_by_contact on conversations (account_id, contact_id, id);

-- The log of a conversation is one sequence in two tables: a created message is its row, every other change is an event.
create table messages (
    conversation_id bigint not null,              -- no foreign key: the fence, in the same statement, proves that it exists
    seq bigint not null,
    account_id bigint not null,
    inbox_id bigint not null,
    message_type text not null,
    content_type text not null,
    content text,
    content_attributes text,
    private boolean not null,
    sender_type text not null,
    sender_id bigint,
    sender_name text,
    client_id text,
    created_at bigint not null,
    edited_at bigint,
    deleted_at bigint,
    primary key (conversation_id, seq)
);
create unique index messages_by_client_id on messages (conversation_id, client_id) where client_id is not null;

create table events (
    conversation_id bigint not null,              -- no foreign key: the fence, in the same statement, proves that it exists
    seq bigint not null,
    account_id bigint not null,
    inbox_id bigint not null,
    type text not null,
    actor_type text not null,
    actor_id bigint,
    actor_name text,
    message_seq bigint,                           -- the message that the event is about
    private boolean not null,                     -- not for visitors
    data text not null,
    created_at bigint not null,
    primary key (conversation_id, seq)
);

create table account_events (
    account_id bigint not null references accounts (id),
    seq bigint not null,
    type text not null,
    actor_type text not null,
    actor_id bigint,
    data text not null,
    created_at bigint not null,
    primary key (account_id, seq)
);
create index account_events_by_time on account_events (account_id, created_at);

create table read_cursors (
    account_id bigint not null,
    conversation_id bigint not null references conversations (id),
    reader_type text not null,
    reader_id bigint not null,
    seq bigint not null,
    updated_at bigint not null,
    primary key (conversation_id, reader_type, reader_id)
);

create table tokens (
    id bigint primary key,
    account_id bigint,                            -- a visitor's account; a user's token is valid in all accounts of the user
    hash text not null unique,                    -- SHA-256 of the token: the token itself is never stored
    kind text not null,
    user_id bigint references users (id),
    contact_id bigint references contacts (id),
    inbox_id bigint references inboxes (id),
    created_at bigint not null,
    expires_at bigint
);
create index tokens_by_user on tokens (user_id) where user_id is not null;
create index tokens_by_contact on tokens (contact_id) where contact_id is not null;

-- Each writer's last batch and its answer, so that a batch whose answer was lost is not written twice.
create table commits (
    writer bigint primary key,
    batch bigint not null,
    written_at timestamptz not null default now(),
    stale bigint[] not null default '{}',         -- conversations, where nothing else was refused
    refused text                                  -- JSON
);

-- Ids. Every node reserves its own from these, and no id comes back after a delete.
create sequence accounts_ids;
create sequence users_ids;
create sequence inboxes_ids;
create sequence contacts_ids;
create sequence conversations_ids;
create sequence tokens_ids;

-- The first of `count` consecutive ids. The lock keeps others from setting the sequence meanwhile.
create function reserve_ids(ids regclass, count bigint) returns bigint language plpgsql as $$
declare first bigint;
begin
    perform pg_advisory_xact_lock(ids::oid::bigint);
    first := nextval(ids);
    perform setval(ids, first + count - 1) where count > 1;
    return first;
end $$;

-- Rows that come with ids of their own (an import) are never met by a reserved one.
create function pass_over_id() returns trigger language plpgsql as $$
declare ids regclass := tg_argv[0]::regclass;
begin
    if new.id > coalesce(pg_sequence_last_value(ids), 0) then
        perform pg_advisory_xact_lock(ids::oid::bigint);
        perform setval(ids, new.id) where new.id > coalesce(pg_sequence_last_value(ids), 0);
    end if;
    return null;
end $$;

create trigger pass_over_id after insert on accounts for each row execute function pass_over_id('accounts_ids');
create trigger pass_over_id after insert on users for each row execute function pass_over_id('users_ids');
create trigger pass_over_id after insert on inboxes for each row execute function pass_over_id('inboxes_ids');
create trigger pass_over_id after insert on contacts for each row execute function pass_over_id('contacts_ids');
create trigger pass_over_id after insert on conversations for each row execute function pass_over_id('conversations_ids');
create trigger pass_over_id after insert on tokens for each row execute function pass_over_id('tokens_ids');
