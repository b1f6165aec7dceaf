"""Prometheus metrics, named in one place; each server has a registry of its own. Never a person or case in a label."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from vireid.engines.choice import Choice

FINE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
COSINES = tuple(x / 20 for x in range(-4, 21))


class Metrics:
    """The server's counters, gauges and histograms."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept = self.registry
        self.requests = Counter(
            "vireid_requests", "Answers by call and outcome", ["method", "code"], registry=kept
        )
        self.stage_seconds = Histogram(
            "vireid_request_seconds", "Time by stage", ["stage"], buckets=FINE, registry=kept
        )
        self.batch_size = Histogram(
            "vireid_batch_size", "Images embedded at once", buckets=BATCHES, registry=kept
        )
        self.queue_items = Gauge("vireid_queue_items", "Requests that wait or run", ["lane"], registry=kept)
        self.rejected = Counter(
            "vireid_queue_rejected", "Requests refused at once", ["reason"], registry=kept
        )
        self.expired = Counter(
            "vireid_deadline_expired", "Requests whose deadline passed", ["stage"], registry=kept
        )
        self.gallery_items = Gauge("vireid_gallery_items", "Items", ["gallery"], registry=kept)
        self.device = Gauge(
            "vireid_device_info", "What really runs", ["device", "provider", "precision"], registry=kept
        )
        self.engine = Gauge(
            "vireid_engine_taken", "1 for the engine that serves", ["engine", "reason"], registry=kept
        )
        self.top1_score = Histogram(
            "vireid_top1_score", "Cosine of the best hit", buckets=COSINES, registry=kept
        )
        self.mismatches = Counter(
            "vireid_modality_mismatch", "Queries whose picture contradicts their label", registry=kept
        )

    def tell_engine(self, choice: Choice) -> None:
        """Say which engine serves, which do not, and why."""
        info = choice.engine.info
        self.device.clear()
        self.device.labels(info.device, info.provider, info.precision).set(1)
        self.engine.clear()
        self.engine.labels(choice.name, choice.reason).set(1)
        for other in choice.not_taken:
            self.engine.labels(other.name, other.reason).set(0)

    def text(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
