"""The accumulators as expressions: of their arguments, or of the elements of one array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from collectionstore_node.documents.expressions.operators.arithmetic import finished
from collectionstore_node.documents.expressions.operators.forms import Operator, spend_on, variadic
from collectionstore_node.documents.expressions.scope import Scope, absent
from collectionstore_node.documents.expressions.totals import Deviation, Total
from collectionstore_node.documents.values import Value


def _over(compute: Callable[[Scope, Sequence[Any]], Value]) -> Callable[..., Value]:
    def run(scope: Scope, *values: Value) -> Value:
        if len(values) == 1 and type(values[0]) is list:
            return compute(scope, spend_on(scope, values[0]))
        return compute(scope, values)

    return run


def _total(values: Sequence[Any]) -> Total:
    total = Total()
    for value in values:
        total.add(value)
    return total


def _sum(scope: Scope, values: Sequence[Any]) -> Value:
    return finished(_total(values).sum())


def _avg(scope: Scope, values: Sequence[Any]) -> Value:
    mean = _total(values).mean()
    return None if mean is None else finished(mean)


def _extreme(*, greatest: bool) -> Callable[[Scope, Sequence[Any]], Value]:
    choose = max if greatest else min

    def run(scope: Scope, values: Sequence[Any]) -> Value:
        return choose((one for one in values if not absent(one)), key=scope.key, default=None)

    return run


def _deviation(*, sample: bool) -> Callable[[Scope, Sequence[Any]], Value]:
    def run(scope: Scope, values: Sequence[Any]) -> Value:
        deviation = Deviation()
        for value in values:
            deviation.add(value)
        found = deviation.of(sample=sample)
        return None if found is None else finished(found)

    return run


TOTALS: Final[dict[str, Operator]] = {
    "$avg": variadic(_over(_avg), "an array, or a list of numbers", 1),
    "$max": variadic(_over(_extreme(greatest=True)), "an array, or a list of values", 1),
    "$min": variadic(_over(_extreme(greatest=False)), "an array, or a list of values", 1),
    "$stdDevPop": variadic(_over(_deviation(sample=False)), "an array, or a list of numbers", 1),
    "$stdDevSamp": variadic(_over(_deviation(sample=True)), "an array, or a list of numbers", 1),
    "$sum": variadic(_over(_sum), "an array, or a list of numbers", 1),
}
