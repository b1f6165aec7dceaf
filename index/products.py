"""Products of bytes with 16-bit numbers, written for the compiler in vectors of any processor.

Whoever multiplies pairs of 16-bit numbers in one instruction (x86 and ARM since long ago) does so. The compiler's
own store of loops goes by the file that a loop stands in: after a change here, touch ``index/sweep.py`` too.
Knows no rounding and no search.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# rows are filled up with zeros to a multiple of this
LANES = 32
# products are written into lines of so many, one a row
BLOCK = 64


def products(rows: int, queries: int, lanes: int, ahead: int = 0) -> Callable[..., None]:
    """Write the loop that multiplies some rows with some queries, all sums held in registers.

    It is called with all rows (N, W), those that are meant (M,), the first of these to multiply now, queries (Q, W),
    the first of these, where products go (flat, a line of ``BLOCK`` a query), and the place of the first in its line.

    Args:
        rows: so many at once.
        queries: so many at once.
        lanes: numbers that one step multiplies.
        ahead: ask the memory for rows that come so many later, which rows in any order need; 0 for none.
    """
    whole, long = ir.IntType(32), ir.IntType(64)
    bytes_, shorts, wholes = (ir.VectorType(ir.IntType(bits), lanes) for bits in (8, 16, 32))
    sums = ir.VectorType(whole, lanes // 2)
    even, odd = (ir.Constant(sums, list(range(first, lanes, 2))) for first in (0, 1))

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes, chosen, asked, out = (
            context.make_array(signature.args[at])(context, builder, arguments[at]) for at in (0, 1, 3, 5)
        )
        dim = builder.extract_value(codes.shape, 1)

        def beginning(data: Any, row: Any) -> Any:
            return builder.gep(data, [builder.mul(row, dim)])

        def some(data: Any, at: Any, kind: Any, align: int) -> Any:
            place = builder.bitcast(builder.gep(data, [at]), kind.as_pointer())
            found = builder.load(place)
            found.align = align
            return builder.sext(found, wholes)

        first, first_asked, place = arguments[2], arguments[4], arguments[6]
        row_data = [
            beginning(codes.data, builder.load(builder.gep(chosen.data, [builder.add(first, long(n))])))
            for n in range(rows)
        ]
        asked_data = [beginning(asked.data, builder.add(first_asked, long(n))) for n in range(queries)]
        coming = [
            beginning(
                codes.data,
                builder.load(builder.gep(chosen.data, [_further(builder, chosen, first, n + ahead)])),
            )
            for n in range(rows if ahead else 0)
        ]
        before = builder.block
        loop, end = builder.append_basic_block("products"), builder.append_basic_block("products.end")
        builder.branch(loop)
        builder.position_at_end(loop)
        at = builder.phi(long)
        at.add_incoming(long(0), before)
        totals = [[builder.phi(sums) for _ in range(queries)] for _ in range(rows)]
        wide = [some(data, at, bytes_, 1) for data in row_data]
        for data in coming:
            _order(builder, builder.gep(data, [at]))
        after = []
        for query, data in enumerate(asked_data):
            by = some(data, at, shorts, 2)
            for row in range(rows):
                product = builder.mul(wide[row], by)
                pairs = builder.add(
                    builder.shuffle_vector(product, product, even),
                    builder.shuffle_vector(product, product, odd),
                )
                total = builder.add(totals[row][query], pairs)
                totals[row][query].add_incoming(ir.Constant(sums, [0] * (lanes // 2)), before)
                totals[row][query].add_incoming(total, loop)
                after.append((query, row, total))
        further = builder.add(at, long(lanes))
        at.add_incoming(further, loop)
        builder.cbranch(builder.icmp_unsigned("<", further, dim), loop, end)
        builder.position_at_end(end)
        add_up = builder.module.declare_intrinsic(
            f"llvm.vector.reduce.add.v{lanes // 2}i32", (), ir.FunctionType(whole, [sums])
        )
        for query, row, total in after:
            column = builder.add(builder.mul(builder.add(first_asked, long(query)), long(BLOCK)), place)
            builder.store(
                builder.call(add_up, [total]), builder.gep(out.data, [builder.add(column, long(row))])
            )
        return context.get_dummy_value()

    @intrinsic
    def product(  # noqa: PLR0913 - the types of places are set here
        _: Any,
        codes: Any,
        chosen: Any,
        first: Any,  # noqa: ARG001
        asked: Any,
        first_asked: Any,  # noqa: ARG001
        out: Any,
        place: Any,  # noqa: ARG001
    ) -> Any:
        return types.void(codes, chosen, types.int64, asked, types.int64, out, types.int64), write

    found: Callable[..., None] = product
    return found


def _further(builder: Any, chosen: Any, first: Any, by: int) -> Any:
    """Return a place so much further on, the last one if there are not so many."""
    last = builder.sub(builder.extract_value(chosen.shape, 0), ir.IntType(64)(1))
    place = builder.add(first, ir.IntType(64)(by))
    return builder.select(builder.icmp_signed("<", place, last), place, last)


def _order(builder: Any, address: Any) -> None:
    """Ask for what lies at an address, to be read soon by this thread."""
    whole = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), whole, whole, whole])
    call = builder.module.declare_intrinsic("llvm.prefetch.p0", (), kind)
    place = builder.bitcast(address, ir.IntType(8).as_pointer())
    builder.call(call, [place, whole(0), whole(3), whole(1)])


def order_of_note() -> Callable[..., None]:
    """Write the call that asks for a row's note."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        _order(builder, builder.gep(data, [builder.mul(arguments[1], ir.IntType(64)(2))]))
        return context.get_dummy_value()

    @intrinsic
    def order(_: Any, notes: Any, row: Any) -> Any:  # noqa: ARG001 - its type is set here
        return types.void(notes, types.int64), write

    found: Callable[..., None] = order
    return found
