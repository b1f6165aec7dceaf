"""What a centring would bring and its message, both ways. Knows no service and no channel."""

from dataclasses import asdict, fields

from vireid.proto import convert
from vireid.proto import retrieval_pb2 as pb
from vireid.types import Across, CentringTrial, ModalityGap


def trial_of(message: pb.CentringTrial) -> CentringTrial:
    """Read what a centring would bring."""
    return CentringTrial(
        before=convert.centring_of(message.before) if message.HasField("before") else None,
        after=convert.centring_of(message.after),
        across=tuple(
            Across(
                convert.known_modality_of(one.asks, "asks"),
                one.queries,
                (one.mean_ap_before, one.mean_ap_after),
                (one.rank1_before, one.rank1_after),
            )
            for one in message.across
        ),
        gap=(_gap_of(message.gap_before), _gap_of(message.gap_after)),
    )


def trial_to(trial: CentringTrial) -> pb.CentringTrial:
    """Write what a centring would bring."""
    return pb.CentringTrial(
        before=None if trial.before is None else convert.centring_to(trial.before),
        after=convert.centring_to(trial.after),
        across=[
            pb.CentringTrial.Across(
                asks=convert.modality_to(one.asks),
                queries=one.queries,
                mean_ap_before=one.mean_ap[0],
                mean_ap_after=one.mean_ap[1],
                rank1_before=one.rank1[0],
                rank1_after=one.rank1[1],
            )
            for one in trial.across
        ],
        gap_before=pb.CentringTrial.Gap(**asdict(trial.gap[0])),
        gap_after=pb.CentringTrial.Gap(**asdict(trial.gap[1])),
    )


def _gap_of(message: pb.CentringTrial.Gap) -> ModalityGap:
    measured = {field.name: value for field, value in message.ListFields()}
    return ModalityGap(**{field.name: measured.get(field.name) for field in fields(ModalityGap)})
