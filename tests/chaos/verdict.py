"""Whether everybody saw what is stored. In: the store's logs, what senders and subscribers know. Out: complaints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from .participant import Participant
from .sender import Sender


class Entry(NamedTuple):
    """One event of a log."""

    seq: int
    client_id: str | None  # of a created message
    private: bool = False  # not for visitors


Log: TypeAlias = Sequence[Entry]


def visible(log: Log, participant: Participant) -> list[tuple[int, str | None]]:
    """What a subscriber is to see of a log."""
    return [(entry.seq, entry.client_id) for entry in log if participant.is_member or not entry.private]


@dataclass
class Verdict:
    """What was found. All counts but the first three must be zero."""

    acknowledged: int = 0
    stored: int = 0
    subscribers: int = 0
    lost: int = 0  # acknowledged, but not stored
    stored_twice: int = 0
    holes_in_logs: int = 0
    stored_out_of_order: int = 0  # of one sender
    incomplete: int = 0  # subscribers that miss something
    different: int = 0  # subscribers that saw something that is not in the log
    complaints: list[str] = field(default_factory=list[str])

    @property
    def good(self) -> bool:
        return not self.complaints

    def complain(self, kind: str, what: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        self.complaints.append(what)


def judge(logs: Mapping[int, Log], senders: Iterable[Sender], participants: Iterable[Participant]) -> Verdict:
    """Compare all that is known; `logs` by conversation."""
    verdict = Verdict()
    for conversation_id, log in logs.items():
        _judge_log(verdict, conversation_id, log)
    for sender in senders:
        _judge_sender(verdict, sender, logs[sender.conversation_id])
    for participant in participants:
        verdict.subscribers += 1
        for id in participant.conversation_ids:
            _judge_participant(verdict, participant, id, visible(logs[id], participant))
    return verdict


def _judge_log(verdict: Verdict, conversation_id: int, log: Log) -> None:
    seqs = [entry.seq for entry in log]
    if seqs != list(range(1, len(seqs) + 1)):
        verdict.complain("holes_in_logs", f"the log of conversation {conversation_id} is not contiguous: {seqs[:50]}")
    stored = Counter(entry.client_id for entry in log if entry.client_id is not None)
    verdict.stored += sum(stored.values())
    for client_id, times in stored.items():
        if times > 1:
            verdict.complain("stored_twice", f"{client_id} is stored {times} times in {conversation_id}")


def _judge_sender(verdict: Verdict, sender: Sender, log: Log) -> None:
    name = sender.participant.name
    at = {entry.client_id: entry.seq for entry in log if entry.client_id is not None}
    verdict.acknowledged += len(sender.acknowledged)
    last = 0
    for client_id in sender.acknowledged:
        seq = at.get(client_id)
        if seq is None:
            verdict.complain("lost", f"{client_id} was acknowledged to {name} and is not stored")
        elif seq < last:
            verdict.complain("stored_out_of_order", f"{client_id} of {name} is stored at {seq}, before {last}")
        else:
            last = seq


def _judge_participant(
    verdict: Verdict, participant: Participant, conversation_id: int, log: Sequence[tuple[int, str | None]]
) -> None:
    saw = participant.log_of(conversation_id)
    if saw == log:
        return
    where = f"{participant.name} in conversation {conversation_id}, last on {participant.node_name}"
    seen, stored = set(saw), set(log)
    missing = [entry for entry in log if entry not in seen]
    if missing:
        verdict.complain("incomplete", f"{where}, misses {len(missing)} of {len(log)}: {missing[:5]}")
    strange = [entry for entry in saw if entry not in stored]
    if strange:
        verdict.complain("different", f"{where}, saw what is not stored: {strange[:5]}")
    if not missing and not strange:
        verdict.complain("different", f"{where}, saw what is stored in another order")
