"""A plant's client of OPC UA against the server: the official type, every result, and who is let in."""

import asyncio
import shutil
import socket
import time
from dataclasses import replace
from datetime import timezone

import pytest

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.core.files.atomic_file import write_atomic
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import STATUS_NAME, status_bytes
from tests.edge.plant.recording_line import Line
from tests.edge.records.records_fakes import look, recorder, stored, wait_for
from tests.system.command_line import running

pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")

from asyncua import ua
from asyncua.common.events import get_filter_from_event_type
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss, SecurityPolicyBasic256Sha256

from edge.plant.opcua.delivery import MOST_SENT
from edge.plant.opcua.security import FASTEST_MS, MOST_SUBSCRIPTIONS_OF_USER, MOST_WAITING, SessionKeeper
from edge.plant.opcua.vision_system import RESULTS
from tests.edge.plant.opcua.site import (
    WAIT_S,
    Results,
    Site,
    contents,
    fetched_nodeset,
    model_of,
    read,
    system_of,
)

pytestmark = pytest.mark.nodeset

OK, NG, INVALID = Decision.OK, Decision.NG, Decision.INVALID
_REFUSED = (ua.UaError, ConnectionError, TimeoutError, asyncio.TimeoutError)


def test_sessions_that_nobody_logs_in_to_are_not_kept_for_ever():
    server = SessionKeeper()
    newest = [server.create_session("a peer", external=True) for _ in range(3 * MOST_WAITING)][-1]
    assert len(server._external_sessions) == MOST_WAITING
    assert server.lookup_external_session(newest.auth_token) is newest


@pytest.fixture(scope="module")
def nodeset(request):
    return fetched_nodeset(request.config.cache.mkdir("nodeset"))


@pytest.fixture(scope="module")
def site(tmp_path_factory, nodeset):
    return Site(tmp_path_factory.mktemp("site"), nodeset)


@pytest.fixture(scope="module")
def server(site):
    with site.serving() as publisher:
        yield publisher


def record(site, line, *decisions, first=0):
    """One run of these verdicts; the rows of all that are recorded."""
    counters = RunCounters()
    run = recorder(site.folder / line / "records", counters, utc_now=None)
    for index, decision in enumerate(decisions):
        run.write(*look(first + index, decision))
    run.close()
    assert counters.recorded == len(decisions)
    return stored(site.folder / line / "records")


def write_status(site, line, **changes):
    keeper = LineStateKeeper(LineInfo(line, "camera", "plate", "openvino", "int8"), RunCounters(camera_state="running"))
    keeper.close()
    state = replace(keeper.state, **{"running": True, "beat_age_s": 0.0, "monotonic_s": time.monotonic(), **changes})
    run = site.folder / line / "run"
    run.mkdir(exist_ok=True, parents=True)
    write_atomic(run / STATUS_NAME, status_bytes(state))


async def until(client, line, path, value):
    give_up = time.monotonic() + WAIT_S
    while True:
        found = await read(client, line, path)
        if getattr(found[0], "Text", found[0]) == value:
            return
        assert time.monotonic() < give_up, found
        await asyncio.sleep(0.05)


def test_a_client_walks_the_official_type_and_gets_one_result_for_each_verdict(site, server):
    async def client():
        results = Results()
        async with site.connected(types=True) as client:
            system, model = await system_of(client, "left"), await model_of(client)
            assert await system.read_type_definition() == ua.NodeId(1003, model)
            for path in ("VisionStateMachine", "VisionStateMachine/Operational", "ResultManagement/Results",
                         "VisionStateMachine/AutomaticModeStateMachine", "ResultManagement/GetResultById"):  # fmt: skip
                await system.get_child([f"{model}:{name}" for name in path.split("/")])
            (event,) = await system.get_referenced_nodes(ua.ObjectIds.GeneratesEvent)
            assert event.nodeid == ua.NodeId(1024, model)
            await until(client, "left", "VisionStateMachine.CurrentState", "Halted")
            await results.watch(client, system)
            line = await asyncio.to_thread(Line, site.folder / "left", (OK, NG, INVALID), every_s=0.05, most=60)
            await results.have(range(1, 61))
            machine = "VisionStateMachine"
            await until(client, "left", f"{machine}.CurrentState", "Operational")
            await until(client, "left", f"{machine}.AutomaticModeStateMachine.CurrentState", "ContinuousExecution")
            state, _ = await read(client, "left", f"{machine}.CurrentState.Id")
            assert (await client.get_node(state).read_browse_name()).Name == "Operational"
            newest, _ = await read(client, "left", f"ResultManagement.Results.Result{60 % RESULTS:02d}")
            await asyncio.to_thread(line.end)
            await until(client, "left", f"{machine}.CurrentState", "Halted")
        return results, newest

    results, newest = asyncio.run(client())
    records = stored(site.folder / "left" / "records")
    assert results.sequences == [each.id for each in records] == list(range(1, 61))
    for event, kept in zip(results.events, records, strict=True):
        told = contents(event.ResultContent)
        assert (told["decision"], told["reason"], told["score"]) == (kept.decision, kept.reason, kept.score)
        assert (told["threshold"], told["bundle"], told["recipe"]) == (kept.threshold, kept.bundle_sha256, kept.recipe)
        assert event.ResultId.Id == f"left-{kept.number}"
        assert event.ResultState == (4 if kept.decision is INVALID else 1)
        assert event.InternalConfigurationId.Id == kept.bundle_sha256
        assert event.CreationTime.replace(tzinfo=timezone.utc) == kept.utc
        assert kept.decision.value in event.Message.Text
    assert newest.ResultId.Id == f"left-{records[-1].number}"
    assert contents(each.Value for each in newest.ResultContent)["sequence"] == 60


def test_opc_ua_goes_on_where_mqtt_has_failed(site, server):
    assert "MQTT has failed" in server.errors and "line.run_directory is null" in server.errors
    assert server.process.poll() is None


def test_what_comes_while_a_client_is_away_is_told_to_it_later_and_to_no_other_user(site, server):
    before = record(site, "right", OK, OK)[-1].id

    async def listen(rows, user="mes", at_server=False, **others):
        results = Results()
        async with site.connected(types=True, user=user) as client:
            await until(client, "right", "ResultManagement.NewestSequence", rows[0] - 1 if rows else before)
            node = client.nodes.server if at_server else await system_of(client, "right")
            await results.watch(client, node, **others)
            if rows:
                await asyncio.to_thread(record, site, "right", *[NG] * len(rows), first=rows[0])
                await results.have(rows)
        return results.sequences

    rows = list(range(before + 1, before + 6))
    assert asyncio.run(listen(rows)) == rows
    # nobody listens
    record(site, "right", OK, NG, OK, first=rows[-1] + 1)
    away = list(range(rows[-1] + 1, rows[-1] + 4))

    async def again(user, expected, **others):
        results = Results()
        async with site.connected(types=True, user=user) as client:
            await until(client, "right", "ResultManagement.NewestSequence", away[-1])
            await results.watch(client, await system_of(client, "right"), **others)
            await results.have(expected)
        return results.sequences

    # a queue of one result holds up, and loses nothing
    assert asyncio.run(again("mes", away, queue_size=1)) == away
    assert asyncio.run(again("mes", [])) == []
    # one that never listened is told what comes from then on
    assert asyncio.run(again("scada", [])) == []
    more = [away[-1] + 1, away[-1] + 2]
    assert asyncio.run(listen(more, user="scada", at_server=True)) == more


def test_a_client_that_filters_is_told_what_passes_after_any_number_that_does_not(site, server):
    async def only_rejects(client):
        type_ = client.get_node(ua.NodeId(1024, await model_of(client)))
        chosen = await get_filter_from_event_type([type_])
        severity = ua.SimpleAttributeOperand(
            TypeDefinitionId=ua.NodeId(ua.ObjectIds.BaseEventType), BrowsePath=[ua.QualifiedName("Severity")],
            AttributeId=ua.AttributeIds.Value,
        )  # fmt: skip
        least = ua.LiteralOperand(Value=ua.Variant(300, ua.VariantType.UInt16))
        chosen.WhereClause = ua.ContentFilter(
            Elements=[ua.ContentFilterElement(ua.FilterOperator.GreaterThanOrEqual, FilterOperands=[severity, least])]
        )
        return type_, chosen

    async def listen():
        results = Results()
        newest = record(site, "left", OK)[-1].id
        async with site.connected(types=True, user="scada") as client:
            await until(client, "left", "ResultManagement.NewestSequence", newest)
            type_, chosen = await only_rejects(client)
            subscription = await client.create_subscription(100, results)
            await subscription.subscribe_events(await system_of(client, "left"), [type_], evfilter=chosen)
            rows = await asyncio.to_thread(record, site, "left", *[OK] * (MOST_SENT + 5), NG, OK, NG)
            rejects = [each.id for each in rows if each.decision is NG][-2:]
            await results.have(rejects)
        return results.sequences, rejects

    told, rejects = asyncio.run(listen())
    assert told == rejects


def test_only_a_trusted_client_with_its_password_on_an_encrypted_channel_is_let_in(site, server):
    async def enter(**others):
        async with site.connected(**others) as client:
            return await read(client, "left", "SystemState")

    assert asyncio.run(enter())[1] == "Good"
    assert asyncio.run(enter(policy=SecurityPolicyAes256Sha256RsaPss))[1] == "Good"
    # the user is then the name of its file
    assert asyncio.run(enter(user=None))[1] == "Good"
    for refused in (
        {"password": "guessed"},
        {"user": "nobody", "password": "guessed"},
        {"password": ""},
        {"certificate": "stranger"},
        # no answer comes
        {"mode": ua.MessageSecurityMode.Sign, "timeout_s": 1},
    ):
        with pytest.raises(_REFUSED):
            asyncio.run(asyncio.wait_for(enter(**refused), WAIT_S))
    wait_for(lambda: "a client was turned away" in server.errors and "a login as mes was refused" in server.errors)
    (rejected,) = (site.opcua / "rejected").iterdir()
    assert rejected.name.startswith("stranger-")
    # no restart is needed to let it in, nor to turn it away again
    allowed = shutil.move(rejected, site.opcua / "trusted" / rejected.name)
    assert asyncio.run(enter(certificate="stranger"))[1] == "Good"

    async def stay():
        client = await site.client(SecurityPolicyBasic256Sha256, certificate="stranger", timeout_s=1)
        await client.connect()
        # one that has shown no certificate yet is no stranger
        with socket.create_connection(("127.0.0.1", site.port)):
            await lose(client)

    async def lose(client):
        allowed.unlink()
        with pytest.raises(_REFUSED):
            while True:
                await read(client, "left", "SystemState")
                await asyncio.sleep(0.1)

    asyncio.run(asyncio.wait_for(stay(), WAIT_S))
    assert server.errors.count("not trusted any more") == 1
    with pytest.raises(_REFUSED):
        asyncio.run(asyncio.wait_for(enter(certificate="stranger"), WAIT_S))


def test_a_channel_in_clear_tells_the_endpoints_and_nothing_else(site, server):
    async def ask():
        client = await site.client()
        endpoints = await client.connect_and_get_server_endpoints()
        assert {each.SecurityMode for each in endpoints} == {ua.MessageSecurityMode.SignAndEncrypt}
        assert all(ua.UserTokenType.Anonymous not in [token.TokenType for token in each.UserIdentityTokens]
                   for each in endpoints)  # fmt: skip
        for user in ("mes", None):
            with pytest.raises(_REFUSED):
                async with await site.client(user=user) as client:
                    await read(client, "left", "SystemState")

    asyncio.run(asyncio.wait_for(ask(), WAIT_S))


def test_nothing_can_be_written_or_called(site, server):
    async def try_to():
        async with site.connected() as client:
            system, model = await system_of(client, "left"), await model_of(client)
            state = await system.get_child([f"{model}:VisionStateMachine", "0:CurrentState"])
            assert await state.read_attribute(ua.AttributeIds.AccessLevel) is not None
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await state.write_value(ua.LocalizedText("Operational"))
            machine = await system.get_child(f"{model}:VisionStateMachine")
            halt = await machine.get_child(f"{model}:Halt")
            assert (await halt.read_attribute(ua.AttributeIds.Executable)).Value.Value is False
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await machine.call_method(halt, ua.Int32(1), ua.String("stop"))
            with pytest.raises(ua.uaerrors.BadUserAccessDenied):
                await client.nodes.objects.add_folder(2, "mine")

    asyncio.run(try_to())


def test_a_line_that_says_nothing_is_in_error_and_what_it_said_is_marked_as_old(site, server):
    async def watch():
        async with site.connected(types=True) as client:
            # killed: the last status says that it runs
            write_status(site, "right")
            await until(client, "right", "VisionStateMachine.CurrentState", "Operational")
            assert (await read(client, "right", "Information.Product")) == ("plate", "Good")
            await until(client, "right", "VisionStateMachine.CurrentState", "Error")
            said, _ = await read(client, "right", "SystemState")
            assert said.State.name == "UDT_5" and "said nothing for 2 s" in said.StateDescription
            mode = await read(client, "right", "VisionStateMachine.AutomaticModeStateMachine.CurrentState")
            assert mode == (None, "BadStateNotActive")
            assert (await read(client, "right", "Information.Product")) == ("plate", "UncertainLastUsableValue")
            # another program writes there
            write_status(site, "right")
            await until(client, "right", "VisionStateMachine.CurrentState", "Operational")
            write_atomic(site.folder / "right" / "run" / STATUS_NAME, b'{"version": 1}')
            await until(client, "right", "VisionStateMachine.CurrentState", "Error")
            await asyncio.sleep(0.6)
            assert (await read(client, "right", "Information.Product")) == ("plate", "UncertainLastUsableValue")
            # started again, and stopped cleanly
            write_status(site, "right")
            await until(client, "right", "VisionStateMachine.CurrentState", "Operational")
            write_status(site, "right", running=False)
            await until(client, "right", "VisionStateMachine.CurrentState", "Halted")
            (site.folder / "right" / "run" / STATUS_NAME).unlink()
            await asyncio.sleep(0.6)
            assert (await read(client, "right", "Information.Product"))[1] == "UncertainLastUsableValue"

    asyncio.run(watch())


def test_a_client_that_asks_for_the_fastest_interval_is_told_which_one_it_has(site, server):
    async def ask():
        async with site.connected() as client:
            made = []
            for asked_ms in (0.0, -1.0, 0.001, 200.0):
                wanted = ua.CreateSubscriptionParameters(RequestedPublishingInterval=asked_ms)
                made.append(await client.uaclient.session.create_subscription(wanted, lambda _: None))
            return [each.RevisedPublishingInterval for each in made]

    assert asyncio.run(ask()) == [FASTEST_MS, FASTEST_MS, FASTEST_MS, 200]


def test_one_user_cannot_take_the_subscriptions_of_the_others_and_twenty_clients_are_served(site, server):
    async def many():
        async with site.connected(user="scada") as greedy:
            for _ in range(MOST_SUBSCRIPTIONS_OF_USER):
                await greedy.create_subscription(1000, Results())
            with pytest.raises(ua.UaError):
                await greedy.create_subscription(1000, Results())
            clients = [site.connected() for _ in range(20)]
            entered = [await client.__aenter__() for client in clients]
            try:
                for client in entered:
                    assert (await read(client, "left", "SystemState"))[1] == "Good"
                await Results().watch(entered[-1], await system_of(entered[-1], "left"))
            finally:
                for client in clients:
                    await client.__aexit__(None, None, None)

    asyncio.run(many())
    wait_for(lambda: "scada asked for more than" in server.errors)


def test_a_killed_server_leaves_nothing_out_and_its_successor_waits_for_the_port(site, server):
    newest = record(site, "left", OK)[-1].id

    async def listen(rows, *decisions):
        results = Results()
        async with site.connected(types=True) as client:
            await results.watch(client, await system_of(client, "left"))
            if decisions:
                await asyncio.to_thread(record, site, "left", *decisions)
            await results.have(rows)
        return results.sequences

    first = [newest + 1, newest + 2]
    before = asyncio.run(listen(first, NG, OK))
    assert before[-2:] == first
    server.signal(9)
    server.ended()
    assert "Traceback" not in server.errors
    record(site, "left", OK, INVALID)
    # a broker that is away
    records = "line: {run_directory: left/run}\nrecord: {directory: left/records}\n"
    (site.folder / "config.yaml").write_text((site.folder / "config.yaml").read_text() + records)
    with socket.create_server(("127.0.0.1", site.port)) as taken, running("publish", cwd=site.folder) as successor:
        wait_for(lambda: "cannot have port" in successor.errors, WAIT_S)
        wait_for(lambda: "no connection to the broker" in successor.errors, WAIT_S)
        taken.close()
        wait_for(lambda: "left, right at opc.tcp://" in successor.errors, WAIT_S)
        told, missed = asyncio.run(listen([newest + 3, newest + 4])), [newest + 3, newest + 4]
        # what was acknowledged in the last second before the kill comes again
        assert told[-2:] == missed and set(told) <= {*before, *missed}
        successor.signal(15)
        assert successor.ended() == 130
        assert "Traceback" not in successor.errors
