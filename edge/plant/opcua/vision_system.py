"""A line as a VisionSystem of the companion specification (OPC 40100-1): its nodes, and what is written into them."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from asyncua import Node, Server, ua
from asyncua.common.instantiate_util import instantiate
from asyncua.server.event_generator import EventGenerator

from edge.core.datatypes import Decision
from edge.core.files.text_names import storable
from edge.plant.opcua.newest_records import KeptVerdict
from edge.plant.opcua.vision_state import VisionState

MODEL = "http://opcfoundation.org/UA/MachineVision"
OWN_NAMESPACE = "urn:edge-inspect"
# the newest results, each in a variable of its own: that of sequence number n is Result(n mod RESULTS)
RESULTS = 50

# numbers of the official nodes
_SYSTEM_TYPE, _RESULT_MANAGEMENT_TYPE, _RESULT_FOLDER_TYPE = 1003, 1007, 1016
_STATE_MACHINE_TYPE, _AUTOMATIC_TYPE, _RESULT_READY_TYPE, _RESULT_TYPE = 1017, 1021, 1024, 2002
_SYSTEM_STATE_TYPE = 3024
# BinaryIdBaseDataType; RecipeIdExternalDataType, ConfigurationIdDataType, RecipeIdInternalDataType
_ID_BASE_TYPE, _ID_TYPES = 3019, (3002, 3008, 3013)

# ResultStateDataType (12.19); a part that could not be judged has no result
_COMPLETED, _FAILED = 1, 4
_SEVERITY = {Decision.OK: 100, Decision.NG: 300, Decision.INVALID: 500}
_NOW, _OLD = ua.StatusCodes.Good, ua.StatusCodes.UncertainLastUsableValue
_NO_MODE, _NOTHING = ua.StatusCodes.BadStateNotActive, ua.StatusCodes.BadNoData

# name → type and value, out of a status
_INFORMATION: dict[str, Callable[[dict[str, Any]], str]] = {
    "Software": lambda status: status["software"],
    "Product": lambda status: status["info"]["product"],
    "Camera": lambda status: status["info"]["source"],
    "Backend": lambda status: f"{status['info']['backend']} {status['info']['precision']}",
    "Bundle": lambda status: status["bundle_sha256"],
    "Model": lambda status: status["model_sha256"],
    "BundleState": lambda status: status["bundle_state"],
    "Recipe": lambda status: status["recipe"]["name"],
    "Started": lambda status: status["started"],
}
_DIAGNOSTICS: dict[str, Callable[[dict[str, Any]], str]] = {
    "CameraState": lambda status: status["camera_state"],
    "RecordState": lambda status: status["record_state"],
    "ChallengeState": lambda status: status["ready_state"],
    "RecipeError": lambda status: status["recipe"]["error"],
}
_COUNTS = ("frames", "ok", "review", "ng", "invalid", "dropped", "reconnects", "records_lost", "missed_triggers")


@dataclass(frozen=True)
class Model:
    """The official types as this server has them. states: browse name → node, of both state machines."""

    index: int
    own: int
    states: dict[str, ua.NodeId]

    def type_(self, number: int) -> ua.NodeId:
        return ua.NodeId(number, self.index)


async def load_model(server: Server, nodeset: str) -> Model:
    """Import the official nodeset. Raises errors of asyncua and of its parser for a file that is none."""
    await server.import_xml(nodeset)
    index, own = await server.get_namespace_index(MODEL), await server.register_namespace(OWN_NAMESPACE)
    base = await server.get_node(ua.NodeId(_ID_BASE_TYPE, index)).read_data_type_definition()
    for number in _ID_TYPES:
        await _inherit(server.get_node(ua.NodeId(number, index)), base)
    await server.load_data_type_definitions()
    states: dict[str, ua.NodeId] = {}
    for machine in (_STATE_MACHINE_TYPE, _AUTOMATIC_TYPE):
        for node in await server.get_node(ua.NodeId(machine, index)).get_children():
            states.setdefault((await node.read_browse_name()).Name, node.nodeid)
    return Model(index, own, states)


async def _inherit(type_: Node, base: ua.StructureDefinition) -> None:
    """Give a type that adds nothing the fields of its base, as OPC 10000-3 has it; the nodeset leaves them out.

    Clients could not read such a value, nor one that contains it.
    """
    encodings = await type_.get_referenced_nodes(ua.ObjectIds.HasEncoding)
    (binary,) = [each for each in encodings if (await each.read_browse_name()).Name == "Default Binary"]
    definition = copy(base)
    definition.DefaultEncodingId = binary.nodeid
    await type_.write_data_type_definition(definition)


class VisionSystem:
    """The nodes of one line. `build` first."""

    def __init__(self, server: Server, model: Model, name: str) -> None:
        self._server, self._model, self.name = server, model, name
        self._told: dict[ua.NodeId, tuple[Any, int]] = {}
        # the last one that could be read
        self._status: dict[str, Any] | None = None
        self._event: EventGenerator

    @property
    def node(self) -> ua.NodeId:
        """The vision system, which tells events of this line; the server tells those of all lines."""
        return self._id()

    async def build(self) -> None:
        model, name = self._model, self.name
        objects = self._server.nodes.objects
        system = await objects.add_object(
            self._id(), ua.QualifiedName(name, model.own), model.type_(_SYSTEM_TYPE), instantiate_optional=False
        )
        machine = self._node("VisionStateMachine")
        await self._add_part(machine, "VisionStateMachine.AutomaticModeStateMachine", _AUTOMATIC_TYPE)
        results = await self._add_part(system, "ResultManagement", _RESULT_MANAGEMENT_TYPE)
        folder = await self._add_part(results, "ResultManagement.Results", _RESULT_FOLDER_TYPE)
        for number in range(RESULTS):
            where = _slot(number)
            type_ = self._server.get_node(model.type_(_RESULT_TYPE))
            label = ua.QualifiedName(where.split(".")[-1], model.own)
            await instantiate(folder, type_, self._id(where), label, instantiate_optional=False)
            await self._write(where, None, ua.VariantType.Null, _NOTHING)
            for part in _PARTS:
                await self._write(f"{where}.{part}", None, ua.VariantType.Null, _NOTHING)
        await self._add_variable(results, "ResultManagement.NewestSequence", ua.VariantType.Int64, 0)
        await system.add_variable(
            self._id("SystemState"), ua.QualifiedName("SystemState", model.index), ua.Variant(None),
            datatype=model.type_(_SYSTEM_STATE_TYPE),
        )  # fmt: skip
        for group, names in (("Information", _INFORMATION), ("Diagnostics", _DIAGNOSTICS)):
            folder = await system.add_object(self._id(group), ua.QualifiedName(group, model.own))
            for each in names:
                await self._add_variable(folder, f"{group}.{each}", ua.VariantType.String, "")
        for count in _COUNTS:
            await self._add_variable(folder, f"Diagnostics.{_count_name(count)}", ua.VariantType.UInt64, 0)
        await self._add_variable(folder, "Diagnostics.Alarms", ua.VariantType.String, [])
        await _only_to_read(system)
        await self._server.nodes.server.add_reference(system, ua.ObjectIds.HasNotifier)
        self._event = await self._server.get_event_generator(
            self._server.get_node(model.type_(_RESULT_READY_TYPE)), emitting_node=self.node
        )
        self._event.event.data_types.update(
            dict.fromkeys(("InternalRecipeId", "InternalConfigurationId"), ua.VariantType.ExtensionObject)
            | {"CreationTime": ua.VariantType.DateTime, "IsPartial": ua.VariantType.Boolean}
            | {"IsSimulated": ua.VariantType.Boolean, "ResultState": ua.VariantType.Int32}
            | {"ResultContent": ua.VariantType.ExtensionObject}
        )

    # the state

    async def tell(self, state: VisionState, status: dict[str, Any] | None) -> None:
        """What the line is now. What it said last, and says no more, is marked as old.

        status: None where there is none that can be read. Raises KeyError, TypeError, ValueError or AttributeError for
        one of another program.
        """
        await self._tell_state("VisionStateMachine", state.state)
        await self._tell_state("VisionStateMachine.AutomaticModeStateMachine", state.mode)
        described = ua.SystemStateDescriptionDataType(
            State=ua.SystemStateDataType[state.system], StateDescription=state.words
        )
        await self._write("SystemState", described, ua.VariantType.ExtensionObject)
        code = _NOW if state.live and status is not None else _OLD
        status = status or self._status
        if status is None:
            return
        for group, values in (("Information", _INFORMATION), ("Diagnostics", _DIAGNOSTICS)):
            for name, value in values.items():
                await self._write(f"{group}.{name}", storable(str(value(status))), ua.VariantType.String, code)
        for count in _COUNTS:
            number = int(status["counts"][count])
            await self._write(f"Diagnostics.{_count_name(count)}", number, ua.VariantType.UInt64, code)
        alarms = [storable(f"{each['kind']}: {each['what']}; {each['advice']}") for each in status["alarms"]]
        await self._write("Diagnostics.Alarms", alarms, ua.VariantType.String, code)
        self._status = status

    async def _tell_state(self, machine: str, state: str | None) -> None:
        code = _NO_MODE if state is None else _NOW
        text = ua.LocalizedText(state or "")
        await self._write(f"{machine}.CurrentState", text, ua.VariantType.LocalizedText, code)
        node = ua.NodeId() if state is None else self._model.states[state]
        await self._write(f"{machine}.CurrentState.Id", node, ua.VariantType.NodeId, code)

    # the results

    async def keep(self, kept: KeptVerdict) -> None:
        """Into its variable, in the place of the one that was RESULTS verdicts before."""
        result, where = self._result(kept), _slot(kept.sequence)
        whole = {**result, "ResultContent": [ua.Variant(each) for each in result["ResultContent"]]}
        await self._write(where, ua.ResultDataType(**whole), ua.VariantType.ExtensionObject)
        for name, kind in _PARTS.items():
            await self._write(f"{where}.{name}", result[name], kind)
        await self._write("ResultManagement.NewestSequence", kept.sequence, ua.VariantType.Int64)

    async def fire(self, kept: KeptVerdict, emitting: ua.NodeId, subscription: int) -> None:
        """Tell one subscription, which watches `emitting`, that this result is ready."""
        record, event = kept.record, self._event.event
        for name, value in self._result(kept).items():
            setattr(event, name, value)
        event.emitting_node = emitting
        event.Severity = _SEVERITY[record.decision]
        why = "" if record.decision is Decision.OK else f", {record.reason.value}"
        await self._event.trigger(
            record.utc, f"{self.name} {record.number}: {record.decision.value}{why}", subscription
        )

    def _result(self, kept: KeptVerdict) -> dict[str, Any]:
        """The fields of a ResultDataType and of a ResultReadyEventType, which have the same names."""
        record = kept.record
        end = record.utc + timedelta(milliseconds=record.times.total)
        return {
            "ResultId": ua.ResultIdDataType(Id=f"{self.name}-{record.number}"),
            "IsPartial": False,
            "IsSimulated": False,
            "ResultState": ua.Int32(_FAILED if record.decision is Decision.INVALID else _COMPLETED),
            "PartId": ua.PartIdDataType(Id=record.part_number, Description=ua.LocalizedText(record.lot)),
            "InternalRecipeId": ua.RecipeIdInternalDataType(Id=record.recipe),
            "InternalConfigurationId": ua.ConfigurationIdDataType(Id=record.bundle_sha256),
            "JobId": ua.JobIdDataType(Id=f"{self.name}-{record.run_id}"),
            "CreationTime": record.utc,
            "ProcessingTimes": ua.ProcessingTimesDataType(StartTime=record.utc, EndTime=end),
            "ResultContent": [
                ua.KeyValuePair(ua.QualifiedName(key, self._model.own), value) for key, value in content(kept).items()
            ],
        }

    # nodes

    def _id(self, path: str = "") -> ua.NodeId:
        return ua.NodeId(f"{self.name}.{path}" if path else self.name, self._model.own)

    def _node(self, path: str) -> Node:
        return self._server.get_node(self._id(path))

    async def _add_part(self, parent: Node, path: str, type_: int) -> Node:
        name = ua.QualifiedName(path.split(".")[-1], self._model.index)
        return await parent.add_object(self._id(path), name, self._model.type_(type_), instantiate_optional=False)

    async def _add_variable(self, parent: Node, path: str, kind: ua.VariantType, value: Any) -> None:
        name = ua.QualifiedName(path.split(".")[-1], self._model.own)
        variant = ua.Variant(value, kind, is_array=isinstance(value, list))
        await parent.add_variable(self._id(path), name, variant)
        await self._write(path, value, kind, _NOTHING)

    async def _write(self, path: str, value: Any, kind: ua.VariantType, code: int = _NOW) -> None:
        """What is there already is not written again, so that nobody is told of it."""
        node = self._id(path)
        if self._told.get(node) == (value, code):
            return
        self._told[node] = (value, code)
        variant = ua.Variant(value, kind, is_array=isinstance(value, list))
        stamped = ua.DataValue(variant, ua.StatusCode(code), SourceTimestamp=datetime.now(timezone.utc))
        await self._server.write_attribute_value(node, stamped)


# the mandatory components of a result variable
_PARTS = {
    "ResultId": ua.VariantType.ExtensionObject,
    "IsPartial": ua.VariantType.Boolean,
    "ResultState": ua.VariantType.Int32,
    "InternalRecipeId": ua.VariantType.ExtensionObject,
    "InternalConfigurationId": ua.VariantType.ExtensionObject,
    "JobId": ua.VariantType.ExtensionObject,
    "CreationTime": ua.VariantType.DateTime,
}


def content(kept: KeptVerdict) -> dict[str, ua.Variant]:
    """What a verdict says, by the names that `--json` gives it, and its sequence number."""
    record = kept.record
    text, number = ua.VariantType.String, ua.VariantType.Double
    score = ua.Variant(None) if record.score is None else ua.Variant(record.score, number)
    return {
        "sequence": ua.Variant(kept.sequence, ua.VariantType.Int64),
        "decision": ua.Variant(record.decision.value, text),
        "reason": ua.Variant(record.reason.value, text),
        "detail": ua.Variant(storable(record.detail), text),
        "score": score,
        "threshold": ua.Variant(record.threshold, number),
        "review": ua.Variant(record.review, ua.VariantType.Boolean),
        "part": ua.Variant(record.part_number, text),
        "lot": ua.Variant(record.lot, text),
        "recipe": ua.Variant(record.recipe, text),
        "bundle": ua.Variant(record.bundle_sha256, text),
        "total_ms": ua.Variant(record.times.total, number),
    }


def _slot(sequence: int) -> str:
    return f"ResultManagement.Results.Result{sequence % RESULTS:02d}"


def _count_name(count: str) -> str:
    return "".join(word.capitalize() for word in count.split("_"))


async def _only_to_read(node: Node) -> None:
    """The nodeset makes some variables writable; and a method that nobody may call says so."""
    for child in await node.get_children():
        kind = await child.read_node_class()
        if kind is ua.NodeClass.Variable:
            await child.set_read_only()
        elif kind is ua.NodeClass.Method:
            for attribute in (ua.AttributeIds.Executable, ua.AttributeIds.UserExecutable):
                await child.write_attribute(attribute, ua.DataValue(ua.Variant(False, ua.VariantType.Boolean)))
        await _only_to_read(child)
