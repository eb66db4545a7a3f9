"""The PTX interpreter on kernels of a few lines: rounding, divergence, barriers, memory, warps, counts, refusals."""

import struct

import numpy as np
import pytest

from benchmarks.gpu.ptx.memory import DeviceMemory
from benchmarks.gpu.ptx.module import PtxModule
from benchmarks.gpu.ptx.parser import PtxFault
from edge.kernels.cuda.plan import Launch

KERNEL = """
.visible .entry kernel(
	.param .align 8 .b8 kernel_param_0[16]
)
.maxntid 256, 1, 1
{{
	.reg .pred 	%p<9>;
	.reg .b16 	%rs<9>;
	.reg .f32 	%f<9>;
	.reg .b32 	%r<9>;
	.reg .f64 	%fd<9>;
	.reg .b64 	%rd<19>;
	// demoted variable
	.shared .align 4 .b8 tile[1024];

	mov.b64 	%rd10, kernel_param_0;
	ld.param.u64 	%rd1, [%rd10];
	ld.param.u64 	%rd2, [%rd10+8];
	mov.u32 	%r1, %tid.x;
	mul.wide.u32 	%rd3, %r1, 4;
	add.s64 	%rd4, %rd1, %rd3;
	add.s64 	%rd5, %rd2, %rd3;
	mov.u32 	%r2, tile;
	shl.b32 	%r3, %r1, 2;
	add.s32 	%r4, %r2, %r3;
{body}
	ret;

}}
"""
NAN, INF = np.float32(np.nan), np.float32(np.inf)


def launched(body, given, result_type=np.uint32, threads=32, grid=(1, 1, 1), watched=False):
    """(what each thread wrote to [%rd5], the module) of a kernel that finds its own element at [%rd4]."""
    memory = DeviceMemory()
    given = np.asarray(given)
    source, target = memory.put(given), memory.device_memory(4 * threads)
    module = PtxModule(KERNEL.format(body="\n".join(f"\t{line}" for line in body)), memory, watched)
    module.launch(Launch("kernel", grid, (threads, 1, 1), struct.pack("<QQ", source, target)))
    return memory.fetch(target, (threads,), result_type), module


def applied(instruction, values, result_type, register="%f2", load="ld.global.f32 %f1, [%rd4];"):
    """The result of one instruction of %f1 (or %r5) for each value."""
    size = {"%f2": "f32", "%r6": "u32"}[register]
    padded = np.resize(values, 32)
    body = [load, instruction, f"st.global.{size} [%rd5], {register};"]
    return launched(body, padded, result_type)[0][: len(values)]


def test_floating_point_is_rounded_once_to_nearest_and_keeps_denormals():
    values = np.array([1e-40, 3.0, np.float32(1) / 3, -0.0, INF, NAN], np.float32)
    with np.errstate(all="ignore"):
        for instruction, expected in [
            ("add.rn.f32 %f2, %f1, 0f33800000;", values + np.float32(2**-24)),
            ("mul.rn.f32 %f2, %f1, 0f3F000000;", values * np.float32(0.5)),
            ("div.rn.f32 %f2, %f1, 0f40400000;", values / np.float32(3)),
            ("rcp.rn.f32 %f2, %f1;", np.float32(1) / values),
            ("sqrt.rn.f32 %f2, %f1;", np.sqrt(values)),
        ]:
            found = applied(instruction, values, np.uint32)
            number = ~np.isnan(expected)
            assert np.array_equal(found[number], expected.view(np.uint32)[number]), instruction
            assert np.isnan(found.view(np.float32)[~number]).all(), instruction


def test_the_smaller_and_the_larger_pass_over_nan_and_order_zeros():
    values = np.array([NAN, 0.0, -0.0, 2.0], np.float32)
    bits = values.view(np.uint32)
    assert applied("max.f32 %f2, %f1, 0f00000000;", values, np.uint32).tolist() == [0, 0, 0, bits[3]]
    assert applied("min.f32 %f2, %f1, 0f00000000;", values, np.uint32).tolist() == [0, 0, bits[2], 0]


def test_conversions_to_whole_numbers_saturate_and_nan_is_zero():
    values = np.array([2.5, 3.5, -2.5, -0.5, 1e20, -1e20, NAN, INF], np.float32)
    most, least = 2**31 - 1, -(2**31)
    for opcode, expected in [
        ("cvt.rni.s32.f32", [2, 4, -2, 0, most, least, 0, most]),
        ("cvt.rzi.s32.f32", [2, 3, -2, 0, most, least, 0, most]),
        ("cvt.rmi.s32.f32", [2, 3, -3, -1, most, least, 0, most]),
        ("cvt.rzi.u32.f32", [2, 3, 0, 0, 2**32 - 1, 0, 0, 2**32 - 1]),
    ]:
        kind = np.uint32 if ".u32." in opcode else np.int32
        assert applied(f"{opcode} %r6, %f1;", values, kind, "%r6").tolist() == expected, opcode


def test_whole_numbers_divide_shift_and_wrap_as_in_c():
    values = np.array([7, -7, 2**31 - 1, -(2**31)], np.int32)
    load = "ld.global.u32 %r5, [%rd4];"
    for instruction, expected in [
        ("div.s32 %r6, %r5, 2;", [3, -3, 2**30 - 1, -(2**30)]),
        ("rem.s32 %r6, %r5, 4;", [3, -3, 3, 0]),
        ("shr.s32 %r6, %r5, 40;", [0, -1, 0, -1]),
        ("shr.u32 %r6, %r5, 40;", [0, 0, 0, 0]),
        ("shl.b32 %r6, %r5, 32;", [0, 0, 0, 0]),
        ("add.s32 %r6, %r5, 1;", [8, -6, -(2**31), -(2**31) + 1]),
        ("mul.hi.s32 %r6, %r5, 1073741824;", [1, -2, 2**29 - 1, -(2**29)]),
        ("mad.lo.s32 %r6, %r5, 2, %r5;", [21, -21, 2**31 - 3, -(2**31)]),
        ("bfe.u32 %r6, %r5, 1, 3;", [3, 4, 7, 0]),
        ("bfe.s32 %r6, %r5, 30, 5;", [0, -1, 1, -2]),
    ]:
        assert applied(instruction, values, np.int32, "%r6", load).tolist() == expected, instruction


def test_numbers_narrower_than_their_register_are_cut_off_and_widened_by_their_sign():
    body = [
        "ld.global.s8 %rs1, [%rd4];", "cvt.s32.s16 %r5, %rs1;", "mov.b32 {%rs2, %rs3}, %r5;",
        "mov.b32 %r6, {%rs3, %rs2};", "cvt.u32.u8 %r7, %rs1;", "xor.b32 %r8, %r6, %r7;", "st.global.u32 [%rd5], %r8;",
    ]  # fmt: skip
    (found,) = set(launched(body, np.full(32, 0x80, np.uint32))[0].tolist())
    # -128 with its halves exchanged, and 128
    assert found == (0xFF80FFFF ^ 0x80)


def test_comparisons_with_nan_hold_only_where_they_say_so():
    for relation, holds in [
        ("lt", 0),
        ("ne", 0),
        ("eq", 0),
        ("ltu", 1),
        ("neu", 1),
        ("equ", 1),
        ("nan", 1),
        ("num", 0),
    ]:
        body = f"setp.{relation}.f32 %p1, %f1, 0f00000000;\n\tselp.u32 %r6, 1, 0, %p1;"
        assert applied(body, np.array([NAN], np.float32), np.uint32, "%r6").tolist() == [holds], relation


LOOP = [
    "and.b32 %r5, %r1, 3;", "mov.u32 %r6, 0;",
    "$L_again:", "setp.eq.s32 %p1, %r5, 0;", "@%p1 bra $L_done;",
    "add.s32 %r5, %r5, -1;", "add.s32 %r6, %r6, 10;", "bra.uni $L_again;",
    "$L_done:", "st.global.u32 [%rd5], %r6;",
]  # fmt: skip


def test_threads_that_part_meet_again_and_each_warp_is_counted_once():
    found, module = launched(LOOP, np.zeros(64, np.uint32), threads=64)
    assert found.tolist() == [10 * (thread % 4) for thread in range(64)]
    counts = module.counts["kernel"]
    # two warps: three rounds for the longest of each, and one store
    assert counts.instructions["add.s32"] == 2 * (1 + 3 * 2)
    assert counts.instructions["st.global.u32"] == 2
    assert counts.bytes["st.global"] == 4 * 64


def test_a_guard_lets_some_threads_pass():
    body = ["mov.u32 %r6, 5;", "setp.lt.u32 %p1, %r1, 3;", "@!%p1 mov.u32 %r6, 7;", "st.global.u32 [%rd5], %r6;"]
    assert launched(body, np.zeros(32, np.uint32))[0].tolist() == [5] * 3 + [7] * 29


EXCHANGE = [
    "st.shared.u32 [%r4], %r1;", "bar.sync 0;", "xor.b32 %r5, %r3, 252;", "add.s32 %r5, %r2, %r5;",
    "ld.shared.u32 %r6, [%r5];", "st.global.u32 [%rd5], %r6;",
]  # fmt: skip


def test_threads_exchange_through_shared_memory_and_a_barrier():
    found, _ = launched(EXCHANGE, np.zeros(64, np.uint32), threads=64, watched=True)
    assert found.tolist() == [thread ^ 63 for thread in range(64)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (EXCHANGE[:1] + EXCHANGE[2:], "reads what another thread writes"),
        ([*EXCHANGE[2:5], "st.shared.u32 [%r4], %r1;"], "writes what another thread reads"),
        (["st.shared.u32 [%r2], %r1;"], "writes what another thread writes"),
        (["st.shared.u32 [%r2], 1;", "atom.shared.add.u32 %r5, [%r2], 1;"], "writes what another thread writes"),
    ],
)
def test_a_race_in_shared_memory_is_a_fault_where_it_is_watched_for(body, words):
    with pytest.raises(PtxFault, match=words):
        launched(body, np.zeros(64, np.uint32), threads=64, watched=True)
    launched(body, np.zeros(64, np.uint32), threads=64)


def test_a_barrier_that_not_all_threads_reach_is_a_fault():
    ways = [["setp.lt.u32 %p1, %r1, 3;", "@%p1 bra $L_out;", "bar.sync 0;", "$L_out:"]]
    ways += [
        [
            "setp.lt.u32 %p1, %r1, 3;",
            "@%p1 bra $L_b;",
            "bar.sync 0;",
            "bra.uni $L_out;",
            "$L_b:",
            "bar.sync 0;",
            "$L_out:",
        ]
    ]
    for body in ways:
        with pytest.raises(PtxFault, match="not reached by all threads"):
            launched(body, np.zeros(32, np.uint32))


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ("ld.global.u32 %r5, [%rd4+2];", "not a multiple of 4"),
        ("ld.global.v2.u32 {%r5, %r6}, [%rd4];", "not a multiple of 8"),
        ("ld.global.u32 %r5, [%rd4+4];", "lie beyond 128 bytes"),
        ("ld.global.u32 %r5, [%rd4+-4];", "lies in no memory"),
        ("ld.shared.u32 %r5, [%r4+900];", "shared: 1024 and 3 bytes more, of 1024"),
        ("ld.param.u64 %rd6, [%rd10+16];", "parameters: 23 lies beyond 16 bytes"),
        ("rem.s32 %r5, %r1, 0;", "divided by zero"),
        ("fma.rn.f32 %f2, %f1, %f1, %f1;", "fma.rn.f32 is not known"),
        ("add.rz.f32 %f2, %f1, %f1;", "rz is not known"),
        ("add.ftz.f32 %f2, %f1, %f1;", "ftz is not known"),
        ("mov.u32 %r5, %clock;", "%clock is not known"),
        ("ld.u32 %r5, [%rd4];", "its memory is not known"),
        ("mov.u32 %q5, 1;", "the register %q5 was not declared"),
    ],
)
def test_what_a_gpu_would_not_do_is_a_fault_that_names_the_line(instruction, words):
    with pytest.raises(PtxFault, match=words) as fault:
        launched([instruction], np.zeros(32, np.uint32))
    assert str(fault.value).startswith("kernel, line 26: ")


def test_atomics_take_their_turns_across_blocks():
    body = ["atom.global.add.u32 %r5, [%rd1], 2;", "st.global.u32 [%rd5], %r5;"]
    found, _ = launched(body, np.zeros(32, np.uint32))
    assert sorted(found.tolist()) == list(range(0, 64, 2))
    body = ["atom.global.add.u32 %r5, [%rd2], 1;"]
    assert launched(body, np.zeros(32, np.uint32), grid=(3, 2, 1))[0][0] == np.uint32(0xFFFFFFFF + 6 * 32 & 0xFFFFFFFF)


def test_a_warp_shuffles_and_votes():
    for instruction, expected in [
        ("shfl.sync.bfly.b32 %r6, %r1, 1, 31, -1;", [lane ^ 1 for lane in range(32)]),
        ("shfl.sync.up.b32 %r6|%p2, %r1, 1, 0, -1;", [max(lane - 1, 0) for lane in range(32)]),
        ("shfl.sync.down.b32 %r6, %r1, 2, 31, -1;", [min(lane + 2, 31) if lane < 30 else lane for lane in range(32)]),
        ("shfl.sync.idx.b32 %r6, %r1, 5, 31, -1;", [5] * 32),
        ("vote.sync.ballot.b32 %r6, %p1, -1;", [0b111] * 32),
        ("activemask.b32 %r6;", [2**32 - 1] * 32),
    ]:
        body = ["setp.lt.u32 %p1, %r1, 3;", instruction, "st.global.u32 [%rd5], %r6;"]
        assert launched(body, np.zeros(32, np.uint32))[0].tolist() == expected, instruction
    apart = ["setp.lt.u32 %p1, %r1, 3;", "@%p1 shfl.sync.bfly.b32 %r6, %r1, 1, 31, -1;"]
    with pytest.raises(PtxFault, match="not those that meet here"):
        launched(apart, np.zeros(32, np.uint32))


def test_memory_that_nobody_wrote_reads_as_nan():
    body = ["ld.shared.f32 %f1, [%r4];", "st.global.f32 [%rd5], %f1;"]
    assert np.isnan(launched(body, np.zeros(32, np.uint32), np.float32)[0]).all()
