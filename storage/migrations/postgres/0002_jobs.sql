-- Jobs, webhooks and timers. Ids and names are compared byte by byte, which is the order of their time.

create table jobs (
    id text collate "C" primary key,
    account_id bigint not null,                   -- 0: the engine's own
    queue text collate "C" not null,
    kind text not null,
    args text not null,
    run_at bigint not null,
    created_at bigint not null,
    state text collate "C" not null default 'available',
    key text collate "C",                         -- of all jobs with one key, at most one is running
    priority bigint not null default 5,
    attempt bigint not null default 0,
    max_attempts bigint not null default 3,
    losses bigint not null default 0,
    worker text,
    lease_until bigint,
    started_at bigint,
    finished_at bigint,
    duration bigint,
    errors text not null default '[]',
    unique_key text collate "C",
    unique_until bigint,
    unique_while_waiting boolean not null default false
);
-- A job is in one of these at a time, and in the three others only where it has what they are about.
create index jobs_available on jobs (queue, priority, run_at, id) where state = 'available';
create index jobs_scheduled on jobs (queue, run_at) where state = 'scheduled';
create index jobs_running on jobs (lease_until) where state = 'running';
create index jobs_finished on jobs (state, finished_at) where state in ('completed', 'cancelled', 'discarded');

create index jobs_by_account on jobs (account_id, id);
create index jobs_by_key on jobs (key, state, queue, priority, run_at, id)
    where key is not null and state in ('available', 'running');
create unique index jobs_unique on jobs (unique_key) where unique_key is not null;

create table job_queues (
    name text collate "C" primary key,
    paused boolean not null default false,
    rate double precision,                        -- jobs a second
    burst double precision not null default 1,
    tokens double precision not null default 1,
    refilled_at bigint not null default 0
);

create table webhooks (
    id bigint primary key,
    account_id bigint not null references accounts (id),
    url text not null,
    secret text not null,
    created_at bigint not null,
    updated_at bigint not null,
    inbox_id bigint,                              -- null: all inboxes
    events text not null default '[]',
    include_private boolean not null default false,
    old_secret text,
    old_secret_until bigint,
    paused_at bigint,
    paused_reason text
);
create index webhooks_by_account on webhooks (account_id, id);

create sequence webhooks_ids;
create trigger pass_over_id after insert on webhooks for each row execute function pass_over_id('webhooks_ids');

create table webhook_deliveries (
    id text collate "C" primary key,
    account_id bigint not null,
    webhook_id bigint not null,                   -- no foreign key: what a webhook just deleted would have got is no error
    event_type text not null,
    payload text not null,
    created_at bigint not null,
    state text collate "C" not null default 'waiting',
    next_attempt_at bigint not null default 0,
    finished_at bigint,
    attempts text not null default '[]'
);
create index webhook_deliveries_waiting on webhook_deliveries (webhook_id, id) where state = 'waiting';
create index webhook_deliveries_by_webhook on webhook_deliveries (account_id, webhook_id, id);
create index webhook_deliveries_finished on webhook_deliveries (finished_at) where finished_at is not null;

alter table conversations add column waiting_since bigint, add column reminded_at bigint;
create index conversations_waiting on conversations (account_id, waiting_since, id) where waiting_since is not null;
