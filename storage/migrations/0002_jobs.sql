-- Jobs, the queues that they wait in, and webhooks. Each index serves one state: a job is in one of them at a time.

alter table conversations add column waiting_since integer;  -- when the visitor wrote what nobody has answered yet
alter table conversations add column reminded_at integer;    -- when members were reminded of it
create index conversations_waiting on conversations (account_id, waiting_since, id) where waiting_since is not null;

create table jobs (
    id text primary key,                          -- in the order of time: new rows are side by side
    account_id integer not null,                  -- 0: nobody's; so it refers to no account
    queue text not null,
    kind text not null,
    args text not null,
    state text not null,
    key text,                                     -- of all jobs with one key, at most one is running
    priority integer not null,
    run_at integer not null,
    attempt integer not null default 0,
    max_attempts integer not null,
    losses integer not null default 0,
    worker text,
    lease_until integer,
    created_at integer not null,
    started_at integer,
    finished_at integer,
    duration integer,
    errors text not null default '[]',
    unique_key text,
    unique_until integer,
    unique_while_waiting integer not null default 0
) without rowid;
create index jobs_by_account on jobs (account_id, id);
create unique index jobs_by_unique_key on jobs (unique_key) where unique_key is not null;
-- Claims and counts read these alone, and no rows: for that SQLite wants to find the state among their columns. A claim
-- passes over the jobs of busy accounts and keys, and these may be many.
create index jobs_available on jobs (queue, priority, run_at, id, account_id, key, state) where state = 'available';
create index jobs_scheduled on jobs (queue, run_at, state) where state = 'scheduled';
create index jobs_discarded on jobs (finished_at, queue, run_at, state) where state = 'discarded';
create index jobs_running on jobs (key, lease_until) where state = 'running';
create index jobs_done on jobs (finished_at) where state in ('completed', 'cancelled');

create table job_queues (
    name text primary key,
    paused integer not null default 0,
    rate real,
    burst real not null default 1,
    tokens real not null default 1,
    refilled_at integer not null default 0
) without rowid;

create table webhooks (
    id integer primary key autoincrement,
    account_id integer not null references accounts (id),
    inbox_id integer,                             -- null: all inboxes
    url text not null,
    secret text not null,
    old_secret text,
    old_secret_until integer,
    events text not null default '[]',            -- types; empty: all
    include_private integer not null default 0,
    paused_at integer,
    paused_reason text,
    created_at integer not null,
    updated_at integer not null
);
create index webhooks_by_account on webhooks (account_id, id);

-- It does not refer to its webhook: an event is written down also while somebody deletes the webhook.
create table webhook_deliveries (
    id text primary key,
    account_id integer not null,
    webhook_id integer not null,
    event_type text not null,
    payload text not null,
    state text not null,
    next_attempt_at integer not null default 0,
    attempts text not null default '[]',
    created_at integer not null,
    finished_at integer
);
create index webhook_deliveries_by_webhook on webhook_deliveries (account_id, webhook_id, id);
create index webhook_deliveries_waiting on webhook_deliveries (webhook_id, id) where state = 'waiting';
create index webhook_deliveries_finished on webhook_deliveries (finished_at) where finished_at is not null;
