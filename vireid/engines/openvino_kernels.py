"""Which of OpenVINO's kernels its CPU plugin is to take, where its own choice is a slow one.

Where a processor has AMX the plugin (seen in 2026.4) takes for a convolution of one channel each, a depthwise one, a kernel made
for products of many channels; the kernel made for it is several times as fast in fp32 and in bf16. Of bytes both are as fast.
The wish is an attribute that Python cannot make, and that the plugin reads from a graph in its own format: it is read from one
of two nodes. Where a plugin does not know it nothing changes.
"""

from typing import Any

WISHED = "cpu:jit_avx512_dw"
KEY = "primitives_priority_0"
CARRIER = f"""<net name="carrier" version="11"><layers>
<layer id="0" name="in" type="Parameter" version="opset1"><data shape="1" element_type="f32"/>
<rt_info><attribute name="primitives_priority" version="0" value="{WISHED}"/></rt_info>
<output><port id="0" precision="FP32"><dim>1</dim></port></output></layer>
<layer id="1" name="out" type="Result" version="opset1"><input><port id="0" precision="FP32"><dim>1</dim></port></input></layer>
</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/></edges></net>"""
GROUPED, KERNEL = "GroupConvolution", 5  # its weights: groups, outputs and inputs of each, rows, columns


def wish(core: Any, model: Any) -> int:
    """Ask for the depthwise kernel where a graph has a depthwise convolution, and tell of how many.

    Args:
        core: of OpenVINO.
        model: read, and not yet compiled; it is changed.
    """
    (carrier,) = core.read_model(CARRIER.encode(), b"").get_parameters()
    told = dict(carrier.get_rt_info().items())
    if KEY not in told:
        return 0
    found = [node for node in model.get_ops() if _is_depthwise(node)]
    for node in found:
        node.set_rt_info(told[KEY], KEY)
    return len(found)


def _is_depthwise(node: Any) -> bool:
    if node.get_type_name() != GROUPED:
        return False
    weights = node.input(1).get_partial_shape()
    if weights.rank.is_dynamic or len(weights) != KERNEL:
        return False
    return all(weights[axis].is_static and weights[axis].get_length() == 1 for axis in (1, 2))
