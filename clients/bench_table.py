"""A benchmark's figures, written for people. Knows the figures and nothing that makes them."""

from collections.abc import Iterator, Mapping
from typing import Any

from clients.accuracy import LEVELS, RULES
from clients.bench_data import FOLDER
from clients.benchmark import CALLS
from vireid.counted import counted

SHOWN_REFUSALS = 20
ENOUGH_FOR_P99 = 100

Figures = Mapping[str, Any]


def as_text(figures: Figures) -> str:
    """Write the figures."""
    scored = (*_accuracy(figures["accuracy"]), *_protocol(figures["data"]["layout"]))
    return "\n".join((*_about(figures), *scored, "", *_speed(figures["speed"])))


def _about(figures: Figures) -> Iterator[str]:
    data, server, machine = figures["data"], figures["server"], figures["machine"]
    drawn = ", drawn people, not real ones" if data["synthetic"] else ""
    yield (
        f"data        {data['name']} ({data['layout']}{drawn}): {counted(data['queries'], 'query', 'queries')}, "
        f"{data['gallery']} gallery images of {data['persons']} people"
    )
    if data["converted"]:
        yield f"            {data['converted']} images were made PNG, without loss, before they were sent"
    yield f"server      {_server(server)}"
    yield f"            space {server['space_id']}"
    yield (
        f"machine     {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}; this client is vireid {machine['vireid']}"
    )
    if figures["cold_start"]:
        cold = figures["cold_start"]
        yield (
            f"cold start  {cold['ready_s']:.2f} s from starting the process until it is ready, "
            f"{cold['first_answer_s']:.2f} s to the first answer"
        )
    enrol = figures["enrol"]
    yield (
        f"enrolled    {counted(enrol['created'], 'image')} in {enrol['seconds']:.2f} s: {enrol['images_per_s']:.1f} images/s "
        f"({enrol['wire']}, {enrol['side_by_side']} at a time)"
    )
    refused = enrol["refused"]
    for each in refused[:SHOWN_REFUSALS]:
        yield f"refused     {each['item_id']}: {each['message']} [{each['reason']}]"
    if len(refused) > SHOWN_REFUSALS:
        yield f"refused     and {len(refused) - SHOWN_REFUSALS} more"


def _server(server: Figures) -> str:
    where = "started here" if server["local"] else ", ".join(server["addresses"].values())
    model, engine = server["info"]["model"], server["info"]["engine"]
    return (
        f"vireid {server['info']['version']}, model {model['name']}, {engine['runtime']} on {engine['device']} "
        f"({engine['provider']}, {engine['precision']}); {where}"
    )


def _accuracy(scored: Figures) -> Iterator[str]:
    ranks = "  ".join(f"Rank-{k} {share:.1%}" for k, share in scored["rank"].items())
    yield f"accuracy    {ranks}  mAP {scored['mean_ap']:.1%}  mINP {scored['mean_inp']:.1%}"
    yield f"            rule {scored['rule']}: {RULES[scored['rule']]}; {scored['cmc']}: {LEVELS[scored['cmc']]}"
    every = f"{scored['scored']} of {scored['queries']} queries have a match; "
    if scored["complete"]:
        yield f"            {every}every ranking holds the whole gallery"
    else:
        yield (
            f"            {every}A LOWER BOUND: a ranking holds {scored['depth']} of {scored['gallery']} images, "
            "matches beyond count as not found"
        )
    for reason, count in scored["errors"].items():
        yield f"refused     {counted(count, 'query', 'queries')}: {reason}"


def _protocol(layout: str) -> Iterator[str]:
    if layout != FOLDER:
        yield "            every query against every gallery image; for the draws of the literature: vireid evaluate"


def _speed(stretches: list[Figures]) -> Iterator[str]:
    first = stretches[0]
    loop = (
        "closed loop: each client asks again as soon as it has its answer"
        if first["loop"] == "closed"
        else f"open loop: {first['rate']:g} calls/s are due, latency counts from then"
    )
    names = "; ".join(f"{name}: {words}" for name, words in CALLS.items())
    yield f"speed       {loop}; {first['warm_up_s']:g} s of warm-up before each line; latencies in ms of all answered calls"
    yield f"            {names}; searches ask for {stretches[-1]['top_k']} hits"
    yield (
        f"{'call':<14}{'wire':<6}{'clients':>8}{'seconds':>9}{'calls':>8}{'failed':>8}{'calls/s':>10}"
        f"{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}{'client cores':>14}"
    )
    for each in stretches:
        times = each["latency_ms"]
        shown = "".join(
            f"{times[name]:>9.2f}" if times else f"{'-':>9}" for name in ("p50", "p95", "p99", "max")
        )
        yield (
            f"{each['call']:<14}{each['wire']:<6}{each['clients']:>8}{each['seconds']:>9.2f}{each['calls']:>8}"
            f"{each['calls'] - each['answered']:>8}{each['per_s']:>10.1f}{shown}{each['client_cores']:>14.2f}"
        )
    if any(each["answered"] < ENOUGH_FOR_P99 for each in stretches):
        yield f"            p99 of fewer than {ENOUGH_FOR_P99} calls is their maximum; more --seconds tell more"
    for each in stretches:
        for reason, count in each["errors"].items():
            yield f"failed      {count} calls of {each['call']}, {each['wire']}, {each['clients']} clients: {reason}"
