"""Channels, against real servers on this machine: what arrives, what counts as failed, what is never told."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from urllib.parse import quote

import pytest

from keepfit.errors import AlertError
from keepfit.monitoring import channels, notices
from keepfit.sections import Alert
from keepfit.types import Check, Verdict
from tests.monitoring.notes import LINK, notice
from tests.monitoring.receivers import PASSWORD, certificate, mail, web
from tests.servers import free_port


def test_a_webhook_gets_everything_as_json() -> None:
    with web() as receiver:
        channels.send(Alert(webhook=f"{receiver.url}/hook?token=abc"), notice())
    [(path, headers, body)] = receiver.got
    assert path == "/hook?token=abc"
    assert headers["Content-Type"].startswith("application/json")
    assert headers["Idempotency-Key"] == body["id"] == notice().id
    assert {"project", "model", "version", "kind", "alarms", "decision", "link"} <= set(body)
    assert (body["project"], body["version"], body["kind"], body["link"]) == ("churn", "3", "alarmed", LINK)
    first = body["alarms"][0]
    assert (first["subject"], first["value"], first["limit"]) == ("accuracy", 0.71, ">= 0.8")
    assert body["decision"][0] == "alarmed: performance: accuracy 0.71 (>= 0.8)"


def test_user_and_password_go_into_a_header() -> None:
    with web() as receiver:
        channels.send(Alert(webhook=receiver.url.replace("://", "://ann:secret@") + "/hook"), notice())
    assert receiver.got[0][1]["Authorization"] == "Basic YW5uOnNlY3JldA=="


def test_slack_gets_text_and_blocks_with_its_marks_escaped_and_within_its_limits() -> None:
    with web() as receiver:
        channels.send(Alert(slack=f"{receiver.url}/services/T0/B0/key"), notice())
        many = tuple(Check("<!channel> " + "x" * 400 + str(number), "failed", 1) for number in range(200))
        channels.send(Alert(slack=receiver.url), notice(worse=Verdict("performance", many)))
    first, second = (body for _, _, body in receiver.got)
    assert set(first) == {"text", "blocks"}
    assert first["text"] == "ALARM churn: version 3 alarmed: performance: accuracy 0.71 (&gt;= 0.8)"
    assert first["blocks"][0]["text"]["type"] == "plain_text"
    assert "*ALARM accuracy: 0.71 (limit &gt;= 0.8)" in first["blocks"][1]["text"]["text"]
    assert "&lt;b&gt;on" in first["blocks"][1]["text"]["text"]
    assert len(second["blocks"]) <= 50
    assert len(second["blocks"][0]["text"]["text"]) <= 150
    assert all(len(block["text"]["text"]) <= 3000 for block in second["blocks"])
    assert "<!channel>" not in json.dumps(second["blocks"][1:])


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
def test_a_refusal_is_a_failure_that_names_the_status(status: int) -> None:
    with web(status) as receiver, pytest.raises(AlertError, match=f"answered {status} [A-Z]"):
        channels.send(Alert(webhook=receiver.url), notice())
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with (
        web() as elsewhere,
        web(status, location=f"{elsewhere.url}/stolen") as receiver,
        pytest.raises(AlertError, match="write the address that it leads to"),
    ):
        channels.send(Alert(webhook=receiver.url), notice())
    assert elsewhere.got == []


def test_a_closed_port_is_a_failure() -> None:
    with pytest.raises(AlertError, match="Connection refused"):
        channels.send(Alert(webhook=f"http://127.0.0.1:{free_port()}/hook"), notice())


@pytest.mark.parametrize("kind", ["webhook", "slack", "email"])
def test_a_receiver_that_hangs_is_let_go(kind: str) -> None:
    with web(0) as receiver:
        smtp = receiver.url.replace("http", "smtp")  # waits for a greeting that a web server never says
        alert = Alert(email="ann@example.org", smtp=smtp) if kind == "email" else Alert(**{kind: receiver.url})
        with pytest.raises(AlertError, match=r"no answer within 0.3 s"):
            channels.send(alert, notice(), seconds=0.3)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/t0ken",
        "t0ken",
        "http://",
        "http://host:port-t0ken/",
        "http://127.0.0.1:1/t0ken here",
        "file:///t0ken",
    ],
)
def test_an_address_that_is_none_is_told_without_quoting_it(address: str) -> None:
    with pytest.raises(AlertError) as raised:
        channels.send(Alert(webhook=address), notice())
    assert "t0ken" not in str(raised.value)
    assert len(str(raised.value)) > 5


def test_targets_are_named_without_their_secrets() -> None:
    alerts = [
        Alert(webhook="https://u:pa55@one.example.org/hook?token=t0ken"),
        Alert(slack="https://hooks.example.org/services/T0/B0/t0ken"),
        Alert(email=["ann@example.org", "bob@example.org"], smtp="smtp://ann:pa55@mail.example.org:587"),
    ]
    found = channels.targets(alerts)
    assert [t.label for t in found.values()] == [
        "webhook one.example.org",
        "slack hooks.example.org",
        "ann@example.org",
        "bob@example.org",
    ]
    told = " ".join([*found, *(t.label for t in found.values())])
    assert "pa55" not in told
    assert "t0ken" not in told
    assert list(channels.targets(list(reversed(alerts)))) != list(found)
    assert set(channels.targets(list(reversed(alerts)))) == set(found)


def test_a_receiver_keeps_its_name_when_its_secret_changes_and_in_any_order() -> None:
    def names(*addresses: str) -> list[str]:
        return [*channels.targets([Alert(webhook=address) for address in addresses])]

    one, two = "https://u:old@host/hook?token=old", "https://host/other"
    assert names(one) == names("https://u:new@host/hook?token=new")
    assert names(one, two) == names(two, one)[::-1]


def test_receivers_that_differ_in_their_secret_alone_are_two_and_the_same_twice_is_one() -> None:
    one, two = (Alert(webhook=f"https://host/hook?token={number}") for number in "12")
    assert [t.alert for t in channels.targets([one, two, one]).values()] == [one, two]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    return tls[0]


@pytest.mark.parametrize("password", [PASSWORD, quote(PASSWORD, safe="")])
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_an_e_mail_arrives_over_tls_as_text_and_html(trusted: ssl.SSLContext, scheme: str, password: str) -> None:
    with mail(trusted, at_once=scheme == "smtps") as (inbox, port):
        smtp = f"{scheme}://ann:{password}@127.0.0.1:{port}"
        channels.send(Alert(email="bob@example.org", smtp=smtp, sender="keepfit@example.org"), notice())
    [(to, message)] = inbox.mail
    assert inbox.secret == [True]
    assert to == ["bob@example.org"]
    assert message["From"] == "keepfit@example.org"
    assert message["Subject"] == notice().title
    assert message["Message-ID"] == f"<{notice().id}@keepfit>"
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert rich is not None
    assert plain.get_content().replace("\r\n", "\n") == notices.text(notice())
    assert rich.get_content().replace("\r\n", "\n").strip() == notices.as_html(notice())


def test_on_this_machine_alone_mail_goes_without_tls() -> None:
    with mail(None, login=False) as (inbox, port):
        channels.send(Alert(email="bob@example.org", smtp=f"smtp://127.0.0.1:{port}"), notice())
    assert inbox.mail[0][1]["From"] == "keepfit@127.0.0.1"


def test_elsewhere_a_mail_server_without_starttls_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_here", lambda host: False)
    with mail(None) as (inbox, port), pytest.raises(AlertError, match="offers no STARTTLS"):
        channels.send(Alert(email="bob@example.org", smtp=f"smtp://ann:{PASSWORD}@127.0.0.1:{port}"), notice())
    assert inbox.mail == []


@pytest.mark.parametrize("at_once", [False, True])
def test_a_certificate_that_nobody_vouches_for_gets_no_password(
    tls: tuple[ssl.SSLContext, Path], at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = "smtps" if at_once else "smtp"
    with mail(tls[0], at_once) as (inbox, port), pytest.raises(AlertError, match="certificate is not trusted"):
        channels.send(Alert(email="b@example.org", smtp=f"{scheme}://ann:{PASSWORD}@127.0.0.1:{port}"), notice())
    assert inbox.mail == []


def test_a_login_and_an_address_that_are_refused_are_told_without_the_password(trusted: ssl.SSLContext) -> None:
    with mail(trusted) as (inbox, port):
        with pytest.raises(AlertError, match="the mail server answered 535") as raised:
            channels.send(Alert(email="bob@example.org", smtp=f"smtp://ann:wr0ng@127.0.0.1:{port}"), notice())
        assert "wr0ng" not in str(raised.value)
        smtp = f"smtp://ann:{PASSWORD}@127.0.0.1:{port}"
        with pytest.raises(AlertError, match="refused the address: 550 no such mailbox"):
            channels.send(Alert(email="nobody@example.org", smtp=smtp), notice())
    assert inbox.mail == []


@pytest.mark.parametrize("smtp", ["mail.example.org", "smtp://ann:t0ken@host:port", "http://ann:t0ken@host"])
def test_an_smtp_address_that_is_none_is_told_without_quoting_it(smtp: str) -> None:
    with pytest.raises(AlertError, match="smtp is not of the form smtp://user") as raised:
        channels.send(Alert(email="bob@example.org", smtp=smtp), notice())
    assert "t0ken" not in str(raised.value)
