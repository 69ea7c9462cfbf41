from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from keepfit.deployment.metrics import BUCKETS, Metrics, text


def test_what_was_counted_is_what_prometheus_reads() -> None:
    counts = Metrics("shop")
    for seconds, code in ((0.0004, 200), (0.02, 200), (99.0, 503)):
        counts.request("3", "/predict", code, seconds)
    counts.predictions["3", "champion"] += 7
    counts.swaps["champion", "refused"] += 1
    counts.dropped = 5
    body, content_type = text(
        counts,
        {
            "keepfit_queue_rows": ("Rows that wait.", (), {("3",): 2.0}),
            "keepfit_monitored_drift": ("How far.", ("column",), {("3", 'a"b'): 0.5}),
        },
    )
    assert content_type.startswith("text/plain")
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    model = (("model_name", "shop"), ("model_version", "3"))
    assert found["keepfit_requests_total", ("code", "200"), *model, ("route", "/predict")] == 2
    assert found["keepfit_requests_total", ("code", "503"), *model, ("route", "/predict")] == 1
    assert found["keepfit_predictions_total", *model, ("role", "champion")] == 7
    assert found["keepfit_swaps_total", ("outcome", "refused"), ("role", "champion")] == 1
    assert found[("keepfit_shadow_dropped_total",)] == 5
    assert found["keepfit_queue_rows", *model] == 2
    assert found["keepfit_monitored_drift", ("column", 'a"b'), *model] == 0.5
    seconds = "keepfit_request_duration_seconds"
    assert found[f"{seconds}_bucket", ("le", "0.0005"), *model, ("route", "/predict")] == 1
    assert found[f"{seconds}_bucket", ("le", str(BUCKETS[-1])), *model, ("route", "/predict")] == 2
    assert found[f"{seconds}_bucket", ("le", "+Inf"), *model, ("route", "/predict")] == 3
    assert found[f"{seconds}_count", *model, ("route", "/predict")] == 3
    assert round(found[f"{seconds}_sum", *model, ("route", "/predict")], 4) == 99.0204
