"""What each method may be told to do: the ``[method]`` part of a recipe, one file a method. Knows no method's code."""

from training.method_settings.cm_emd import CmEmdSettings
from training.method_settings.danet import DanetCompat, DanetSettings
from training.method_settings.dcl import DclCompat, DclSettings
from training.method_settings.miot import MiotCompat, MiotSettings
from training.method_settings.mult import MultCompat, MultSettings
from training.method_settings.otla import OtlaCompat, OtlaSettings
from training.method_settings.part import MethodSettings, Part
from training.method_settings.spcl import SpclCompat, SpclSettings
from training.method_settings.supervised import SupervisedSettings

SETTINGS: dict[str, type[MethodSettings]] = {
    "supervised": SupervisedSettings,
    "danet": DanetSettings,
    "cm-emd": CmEmdSettings,
    "otla": OtlaSettings,
    "spcl": SpclSettings,
    "dcl": DclSettings,
    "miot": MiotSettings,
    "mult": MultSettings,
}

__all__ = [
    "SETTINGS",
    "CmEmdSettings",
    "DanetCompat",
    "DanetSettings",
    "DclCompat",
    "DclSettings",
    "MethodSettings",
    "MiotCompat",
    "MiotSettings",
    "MultCompat",
    "MultSettings",
    "OtlaCompat",
    "OtlaSettings",
    "Part",
    "SpclCompat",
    "SpclSettings",
    "SupervisedSettings",
]
