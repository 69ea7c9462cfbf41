"""The outbox: nothing is lost, nothing is sent for ever, and nobody waits for another's receiver."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from keepfit import durable
from keepfit.monitoring import outbox
from keepfit.sections import Alert
from tests.monitoring.notes import NOW, notice
from tests.monitoring.receivers import web
from tests.servers import free_port

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def away() -> Alert:
    """A receiver that nobody listens for, with secrets in its address."""
    return Alert(webhook=f"http://ann:pa55@127.0.0.1:{free_port()}/services/pa7h?token=t0ken")


def files(folder: Path) -> list[Path]:
    return sorted((folder / outbox.FOLDER).glob("*.json"))


def test_a_notice_is_written_sent_and_gone(tmp_path: Path) -> None:
    with web() as receiver:
        alerts = [Alert(webhook=receiver.url), Alert(slack=receiver.url)]
        assert outbox.put(alerts, tmp_path, notice(), NOW) == ()
        assert len(files(tmp_path)) == 2
        assert outbox.deliver(alerts, tmp_path, NOW) == ()
        assert outbox.deliver(alerts, tmp_path, NOW) == ()
    assert sorted("blocks" in body for _, _, body in receiver.got) == [False, True]
    assert files(tmp_path) == []


def test_without_alerts_and_without_an_outbox_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert outbox.put([], tmp_path, notice(), NOW) == ()
    assert outbox.deliver([], tmp_path, NOW) == ()
    assert outbox.waiting(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_failed_is_tried_again_after_a_pause_and_keeps_its_id(tmp_path: Path) -> None:
    with web(500, 200) as receiver:
        alerts = [Alert(webhook=receiver.url)]
        outbox.put(alerts, tmp_path, notice(), NOW)
        assert outbox.deliver(alerts, tmp_path, NOW) == ()
        [left] = outbox.waiting(tmp_path)
        assert (left.tries, left.problem) == (1, "the server answered 500 Internal Server Error")
        outbox.deliver(alerts, tmp_path, NOW + MINUTE / 2)
        assert len(receiver.got) == 1
        outbox.deliver(alerts, tmp_path, NOW + MINUTE)
    assert files(tmp_path) == []
    assert receiver.got[0][2]["id"] == receiver.got[1][2]["id"]


def test_pauses_double_up_to_an_hour_and_end_after_a_day_with_a_record(tmp_path: Path) -> None:
    alerts = [away()]
    outbox.put(alerts, tmp_path, notice(), NOW)
    now, pauses, told = NOW, [], ()
    while not (told := outbox.deliver(alerts, tmp_path, now)):
        due = datetime.fromisoformat(outbox.waiting(tmp_path)[0].due)
        pauses.append(due - now)
        now = due
    minutes = [pause / MINUTE for pause in pauses]
    assert minutes[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert timedelta(hours=24) <= now - NOW < timedelta(hours=25.1)
    [decision] = told
    assert (decision.kind, decision.subject, decision.version) == ("undelivered", "churn", "3")
    assert "did not reach webhook 127.0.0.1" in decision.reason
    assert "Connection refused" in decision.reason
    assert files(tmp_path) == []


def test_no_secret_of_an_address_is_kept_or_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    smtp = f"smtp://ann:pa55@127.0.0.1:{free_port()}"
    alerts = [away(), Alert(email="bob@example.org", smtp=smtp)]
    outbox.put(alerts, tmp_path, notice(), NOW)
    outbox.deliver(alerts, tmp_path, NOW)
    assert len(files(tmp_path)) == 2
    kept = " ".join(path.name + path.read_text() for path in files(tmp_path))
    told = outbox.deliver([], tmp_path, NOW)
    shown = " ".join([kept, str(told), *capfd.readouterr()])
    assert len(told) == 2
    assert not [secret for secret in ("pa55", "pa7h", "t0ken") if secret in shown]


def test_a_receiver_that_the_config_no_longer_names_gets_nothing(tmp_path: Path) -> None:
    with web() as receiver:
        outbox.put([Alert(webhook=receiver.url)], tmp_path, notice(), NOW)
        [told] = outbox.deliver([], tmp_path, NOW)
    assert "alerts no longer names it" in told.reason
    assert receiver.got == []
    assert files(tmp_path) == []


@pytest.mark.slow
def test_a_receiver_that_hangs_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BUDGET", 4.0)
    with web(0) as hanging, web() as receiver:
        alerts = [Alert(webhook=hanging.url), Alert(webhook=receiver.url + "/other")]
        for number in range(20):
            outbox.put(alerts, tmp_path, notice(number * MINUTE), NOW)
        assert outbox.deliver(alerts, tmp_path, NOW, seconds=3.0) == ()
    assert len(receiver.got) == 20
    assert [body["when"] for _, _, body in receiver.got] == sorted(body["when"] for _, _, body in receiver.got)
    assert 1 <= len(hanging.got) <= 2  # the rest waits for the next pass
    left = outbox.waiting(tmp_path)
    assert len(left) == 20
    assert left[0].problem == "no answer within 3 s"
    assert left[-1].tries == 0


def test_a_notice_that_is_always_refused_holds_up_no_other(tmp_path: Path) -> None:
    with web(400, 200) as receiver:
        alerts = [Alert(webhook=receiver.url)]
        outbox.put(alerts, tmp_path, notice(), NOW)
        outbox.put(alerts, tmp_path, notice(MINUTE), NOW)
        outbox.deliver(alerts, tmp_path, NOW)
    assert [left.notice.id for left in outbox.waiting(tmp_path)] == [notice().id]


def test_the_outbox_is_bounded_and_the_oldest_gives_way_with_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LIMIT", 3)
    alerts = [away()]
    told = [outbox.put(alerts, tmp_path, notice(number * MINUTE), NOW) for number in range(5)]
    assert [len(found) for found in told] == [0, 0, 0, 1, 1]
    assert "too many notices are waiting" in told[-1][0].reason
    assert [left.notice.id for left in outbox.waiting(tmp_path)] == [notice(n * MINUTE).id for n in (2, 3, 4)]


def test_the_same_notice_put_twice_is_one_file(tmp_path: Path) -> None:
    alerts = [away()]
    outbox.put(alerts, tmp_path, notice(), NOW)
    outbox.put(alerts, tmp_path, notice(), NOW + HOUR)
    assert len(files(tmp_path)) == 1


def test_a_clock_set_back_holds_nothing_up_and_one_set_ahead_gives_nothing_up(tmp_path: Path) -> None:
    with web(500, 500, 500, 200) as receiver:
        alerts = [Alert(webhook=receiver.url)]
        outbox.put(alerts, tmp_path, notice(), NOW)
        outbox.deliver(alerts, tmp_path, NOW)
        assert outbox.deliver(alerts, tmp_path, NOW + timedelta(days=3000)) == ()
        assert outbox.deliver(alerts, tmp_path, NOW - timedelta(days=3000)) == ()
        assert outbox.deliver(alerts, tmp_path, NOW - timedelta(days=6000)) == ()
    assert len(receiver.got) == 4
    assert files(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 7}'])
def test_a_damaged_file_is_set_aside_and_stops_no_other(tmp_path: Path, content: bytes) -> None:
    with web() as receiver:
        alerts = [Alert(webhook=receiver.url)]
        outbox.put(alerts, tmp_path, notice(), NOW)
        files(tmp_path)[0].write_bytes(content)
        outbox.put(alerts, tmp_path, notice(MINUTE), NOW)
        with pytest.warns(UserWarning, match="begins anew"):
            assert outbox.deliver(alerts, tmp_path, NOW) == ()
        assert len(receiver.got) == 1
    assert files(tmp_path) == []


def test_a_full_disk_loses_no_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alerts = [away()]
    outbox.put(alerts, tmp_path, notice(), NOW)
    before = files(tmp_path)[0].read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        outbox.put(alerts, tmp_path, notice(MINUTE), NOW)
    assert outbox.deliver(alerts, tmp_path, NOW) == ()
    assert [path.read_bytes() for path in files(tmp_path)] == [before]


def test_while_another_process_delivers_nothing_is_sent_twice(tmp_path: Path) -> None:
    with web() as receiver:
        alerts = [Alert(webhook=receiver.url)]
        outbox.put(alerts, tmp_path, notice(), NOW)
        with outbox._alone(tmp_path / outbox.FOLDER) as other:  # locks count by open file, as between processes
            assert other
            assert outbox.deliver(alerts, tmp_path, NOW) == ()
            assert receiver.got == []
        outbox.deliver(alerts, tmp_path, NOW)
    assert len(receiver.got) == 1


def _deliver(alerts: list[Alert], folder: Path, begun: Connection) -> None:
    begun.send("begun")
    outbox.deliver(alerts, folder, datetime.now(UTC))


@pytest.mark.slow
def test_a_kill_while_sending_costs_no_notice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    with web(0, 200) as receiver:
        alerts = [Alert(webhook=receiver.url)]
        outbox.put(alerts, tmp_path, notice(), NOW)
        (tmp_path / outbox.FOLDER / ".a.json.partial-1-999999999").write_text("half")
        process = context.Process(target=_deliver, args=(alerts, tmp_path, theirs))
        process.start()
        assert mine.recv() == "begun"
        while not receiver.got:  # it waits for the answer now
            assert process.is_alive()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        outbox.deliver(alerts, tmp_path, NOW)
    ids = [body["id"] for _, _, body in receiver.got]
    assert ids == [notice().id] * 2
    assert [path.name for path in (tmp_path / outbox.FOLDER).iterdir()] == ["lock"]


def test_files_are_json_with_a_format_number(tmp_path: Path) -> None:
    outbox.put([away()], tmp_path, notice(), NOW)
    content = json.loads(files(tmp_path)[0].read_text())
    assert content["format"] == 1
    assert content["channel"] in files(tmp_path)[0].name
