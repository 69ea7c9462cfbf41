"""The sections of keepfit.yaml as frozen values, with their defaults and what each key means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Action = Literal["stop", "warn", "ignore"]
DURATION = re.compile(r"\s*([0-9.]+)\s*(ms|s|m|h|d|w)\s*")
UNITS: Mapping[str, float] = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(value: Any) -> Any:
    """A duration in seconds: a number, or a number with its unit.

    >>> seconds("90s"), seconds("1d"), seconds(2)
    (90.0, 86400.0, 2)
    """
    if not isinstance(value, str):
        return value
    found = DURATION.fullmatch(value)
    if not found:
        raise ValueError(f"'{value}' is no duration; write it as 30s, 5m, 1h or 90d")
    return float(found[1]) * UNITS[found[2]]


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
PERIODS: Mapping[str, float] = {
    "hour": 3600.0,
    "day": 86400.0,
    "week": 604800.0,
    "month": 2629746.0,
    "year": 31556952.0,
}
RATE = re.compile(r"\s*([0-9.]+)\s*(?:per|a|an|/)\s*(hour|day|week|month|year)\s*")


def rate(value: Any) -> Any:
    """How often, in events a second: "1 per month".

    >>> round(rate("2 per week") * 604800, 6)
    2.0
    """
    if not isinstance(value, str):
        return value
    found = RATE.fullmatch(value)
    if not found:
        raise ValueError(f"'{value}' is no rate; write it as 1 per month (hour, day, week, month or year)")
    return float(found[1]) / PERIODS[found[2]]


def since(value: Any) -> Any:
    """How far back training looks: `all`, `change`, or a duration in seconds."""
    if value in ("all", "change"):
        return value
    try:
        return float(seconds(value))
    except (ValueError, TypeError):
        raise ValueError(f"'{value}' is no window; write it as all, change, or a duration such as 90d") from None


Rate = Annotated[float, BeforeValidator(rate), Field(gt=0)]
Since = Annotated[Literal["all", "change"] | float, BeforeValidator(since)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ProjectSection(Section):
    """Names the project; `name` is also the name of the registered model."""

    name: str = Field("", description="registered model's name; default: the folder's name")
    description: str = ""
    owner: str = ""

    @field_validator("name")
    @classmethod
    def _registered(cls, name: str) -> str:
        if "/" in name or ":" in name:
            raise ValueError("must name a registered model, without '/' and ':'")
        return name


class Leakage(Section):
    """What to do about each kind of leak: stop, warn or ignore."""

    duplicates: Action = Field("stop", description="the same row in train and test")
    groups: Action = Field("stop", description="an entity of data.group in train and test")
    known_later: Action = Field("stop", description="test rows older than training rows, late columns")
    target_alone: Action = Field("warn", description="one column tells the target nearly alone")
    ids: Action = Field("warn", description="an id that works as a feature")
    near_duplicates: Action = Field("warn", description="nearly the same picture in train and test")
    threshold: float = Field(0.98, description="single-column score (0 to 1) that is too good to be true")


class Data(Section):
    """Where the data is and what its columns are."""

    source: str = Field(description="path, glob, folder, URI, sklearn:NAME or python:module:function")
    query: str | None = Field(None, description="SQL query, for postgresql:// and sqlite://")
    test: str | None = Field(None, description="a separate, official test set; else one is split off")
    target: str | None = Field(None, description="the column to predict")
    test_size: float = Field(0.2, gt=0, lt=1)
    random_state: int = Field(42, ge=0, lt=2**32)
    header: list[str] | None = Field(None, description="column names of files that have no header")
    separator: str | None = Field(None, description="of CSV files; default: found out")
    encoding: str | None = Field(None, description="of text files; default: UTF-8, else found out")
    decimal: Literal[".", ","] = Field(".", description="of numbers in CSV files; ',' reads 1.234,56")
    missing: list[str] = Field(
        ["", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"], description="strings that mean 'missing'"
    )
    columns: dict[str, str] = Field({}, description="column → role, where inference got it wrong")
    time: str | None = Field(None, description="a date column: split in time order")
    group: str | None = Field(None, description="an entity column: never on both sides of a split")
    known_at: str | None = Field(None, description="when a row became known")
    drop_missing_target: bool = Field(True, description="drop rows without a target; else stop")
    leakage: Leakage = Leakage()
    documentation: dict[str, Any] = Field({}, description="origin, licence, notes")


class Expectation(Section):
    """What is expected of a column."""

    min: float | None = None
    max: float | None = None
    nulls: float | None = Field(None, ge=0, le=1, description="largest share of missing values")
    values: list[Any] | None = Field(None, description="the only allowed values")
    unique: bool | None = None
    pattern: str | None = Field(None, description="regular expression that each value matches whole")
    required: bool = Field(True, description="the column must be there")
    action: Literal["stop", "warn"] = "stop"


class ImageFeatures(Section):
    """How pictures become features."""

    backbone: str | None = Field(None, description="a pretrained network: folder, name on the hub, or .onnx file")
    size: int | None = Field(None, ge=4, le=1024, description="pixels of a side that are looked at")
    how: Literal["auto", "squash", "crop"] = Field("auto", description="how a picture is brought to that size")
    augment: Literal["auto", "none", "mirror"] = Field("auto", description="views of a picture that are averaged")


class Forecast(Section):
    """What is forecast, and how far; for `task: forecast`."""

    horizon: int = Field(12, ge=1, le=10_000, description="periods ahead")
    series: list[str] = Field([], description="columns that tell the series apart; none: there is one series")
    past: list[str] = Field([], description="covariates that are known up to the last observation only")
    frequency: str = Field("auto", description="a period: 15m, 1h, 1d, 1b (business days), 1w, 1mo, 1q, 1y")
    season: Literal["auto"] | int | list[int] = Field("auto", description="periods of a season: 12, or [24, 168]")
    wide: Literal["auto"] | bool = Field("auto", description="whether each series is a column, or a row, of its own")
    coverage: float = Field(0.9, gt=0, lt=1, description="share of what comes that the intervals are to hold")


class Features(Section):
    """How features are made and selected."""

    code: str | None = Field(None, description="file of functions that add columns; default: features.py if there")
    select: Literal["none", "auto", "mutual_information", "importance", "pca"] = "auto"
    keep: int | float | None = Field(None, description="features (or share) that select keeps")
    image: ImageFeatures = ImageFeatures()


class Model(Section):
    """The estimator; its own parameters stand beside `type`."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
    type: str = Field("auto", description="auto, a name of the catalogue, or module:Class")
    calibrate: Literal["auto", "none", "sigmoid", "isotonic"] = "auto"
    imbalance: Literal["auto", "none", "balanced"] = "auto"
    threshold: float | str = Field("auto", description="decision threshold of two classes: a number, auto, or a metric")
    costs: dict[Literal["false_positive", "false_negative"], float] | None = None
    trusted: list[str] = Field([], description="types that skops may load for runtime: python")

    @property
    def parameters(self) -> dict[str, Any]:
        """The estimator's own parameters."""
        return dict(self.__pydantic_extra__ or {})


class Tuning(Section):
    """Search over features and estimators, inside cross-validation."""

    trials: int = Field(30, ge=0)
    time_budget: float = Field(60, gt=0, description="seconds, wall clock")
    cv: int = Field(5, ge=2)
    search: Literal["tpe", "random", "grid"] = "tpe"
    metric: str = "auto"
    space: dict[str, Any] = Field({}, description="parameter → list of values or {low, high, log}")


class Evaluation(Section):
    """How the model is judged on the test rows."""

    bootstrap: int = Field(1000, ge=100, description="resamples of each interval")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    slices: list[str] | None = Field(None, description="columns to slice by; default: chosen")


class Gate(Section):
    """What a challenger must prove besides `goals`."""

    metric: str = "auto"
    margin: float = Field(0.005, ge=0, description="how much worse than the champion is still no loss")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    slices: dict[str, float] = Field({}, description="column → lowest metric in each of its slices")
    size_mb: float | None = Field(1024, description="largest bundle")
    latency_ms: float | None = Field(100, description="largest median of a single row")


class Canary(Section):
    """A share of the traffic that another version answers."""

    version: str = Field("challenger", description="an alias or a version's number")
    share: float = Field(0.1, ge=0, le=1, description="of the requests; sticky by X-Request-ID")


class Log(Section):
    """The prediction log: every answered request, as a data set."""

    enabled: bool = True
    uri: str | None = Field(None, description="where the Parquet files go; default: .keepfit/predictions")
    redact: list[str] = Field([], description="columns whose values are not written")
    roll: Duration = Field(300.0, description="how often the log is rolled into Parquet, as 5m")
    retention: Duration | None = Field(None, description="what is older is deleted, as 90d; default: kept")
    durable: bool = Field(False, description="on the disk before the answer leaves: survives a power cut, costs time")


class Serving(Section):
    """The HTTP server of the champion."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    extra_columns: Literal["ignore", "reject"] = Field("ignore", description="columns that the model does not know")
    max_body_mb: float = Field(16, gt=0)
    max_rows: int = Field(10_000, ge=1, description="rows of one request")
    max_megapixels: float = Field(200, gt=0, description="million pixels of all pictures of one request")
    queue: int = Field(10_000, ge=1, description="rows that may wait; more are answered with 503")
    timeout: Duration = Field(30.0, description="for a request to arrive whole, and to be answered")
    follow: Duration = Field(0.5, description="how often the registry is asked who is champion")
    keys: dict[str, str] = Field({}, description="caller → ${VARIABLE} of its API key; also KEEPFIT_API_KEY")
    admin_key: str | None = Field(None, description="${VARIABLE} of the key for /control; also KEEPFIT_ADMIN_KEY")
    shadow: str | None = Field(None, description="alias or version that scores the same requests, unseen")
    canary: Canary | None = None
    log: Log = Log()


class Monitoring(Section):
    """What is watched in production, and how often it may cry wolf."""

    every: Duration = Field(3600.0, gt=0, description="between two passes, as 1h; also the length of a time slice")
    window: Duration = Field(86400.0, gt=0, description="what a pass looks at: the last 1d")
    false_alarms: Rate = Field(
        "1 per month", validate_default=True, description="how many are bearable, as 1 per month"
    )
    time: str | None = Field(None, description="column with the time of the event; default: when it was answered")
    min_rows: int = Field(50, ge=10, description="fewer rows are not checked")
    smallest: float = Field(0.005, ge=0, description="population stability index under which a shift is no matter")
    slices: list[str] | None = Field(None, description="columns to slice performance by; default: as evaluated")


class Trial(Section):
    """How long a challenger that passed the gate shows itself on live requests before it is promoted."""

    mode: Literal["shadow", "canary"] = "shadow"
    share: float = Field(0.1, ge=0, le=1, description="of the requests that a canary answers")
    length: Duration = Field(86400.0, description="as 1d")
    min_rows: int = Field(200, ge=10, description="labelled rows that are needed to judge it")


class Retraining(Section):
    """When a challenger is trained, on what, and what it must live through."""

    on: list[Literal["performance", "drift", "schedule", "rows"]] = ["performance", "drift", "schedule"]
    schedule: str | None = Field(None, description='cron, UTC, as "0 3 * * 1"')
    min_rows: int = Field(
        500, ge=1, description="new labelled rows without which nothing is trained unasked; of forecasts the horizon"
    )
    rows: int = Field(5000, ge=1, description="new labelled rows that are reason enough, for on: [rows]")
    window: Since = Field("all", description="all, the last 90d, or change: since the alarm's change")
    test_size: float = Field(0.2, gt=0, lt=1, description="share of the new labelled rows, the newest, to be judged on")
    cooldown: Duration = Field(86400.0, description="between two trainings, as 1d")
    timeout: Duration = Field(21600.0, gt=0, description="after which a training is stopped, as 6h")
    trial: Trial | None = None
    probation: Duration = Field(604800.0, description="in which a worse new champion is rolled back, as 7d")


class Alert(Section):
    """Where alarms are sent: one of webhook, slack or email."""

    webhook: str | None = Field(None, description="URL that gets the alarm as JSON")
    slack: str | None = Field(None, description="URL of a Slack-format webhook")
    email: str | list[str] | None = Field(None, description="one or several addresses; needs smtp")
    smtp: str | None = Field(None, description="smtp://user:${PASSWORD}@host:587 (STARTTLS) or smtps://…:465")
    sender: str | None = Field(None, description="the address that e-mails come from")

    @model_validator(mode="after")
    def _one(self) -> Alert:
        named = [name for name in ("webhook", "slack", "email") if getattr(self, name)]
        if len(named) != 1:
            raise ValueError("name one of webhook, slack or email")
        if self.email and not self.smtp:
            raise ValueError("email needs smtp: smtp://host:587")
        return self


class Tracking(Section):
    """MLflow. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME win over both keys."""

    uri: str | None = Field(None, description="default: SQLite under .keepfit/")
    experiment: str | None = Field(None, description="default: project.name")
