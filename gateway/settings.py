"""The settings tree: every key with its meaning, unit, limits and default."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from gateway import setting_checks
from gateway.custom_projection import CustomProjection
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Decider
from gateway.domain.outages import GATEWAY
from gateway.errors import SettingsError

T = TypeVar("T")


class Section(BaseModel):
    """A table of the settings file. Unknown keys are errors, and so is a value of another type: TOML has types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)


# TOML has neither tuples nor paths, so fields of these types take arrays and text
Patterns = Annotated[tuple[str, ...], AfterValidator(setting_checks.some), Field(strict=False)]


class GatewaySettings(Section):
    """The table ``[gateway]``."""

    id: Annotated[str, AfterValidator(setting_checks.name)] = Field("gw1", description="Name of this gateway")
    state_dir: Path = Field(
        Path("/var/lib/edge-gateway"), strict=False, description="Where it keeps its log and its read cache"
    )


class TlsSettings(Section):
    """The table ``[mqtt.tls]``."""

    enabled: bool = Field(default=False, description="Whether the broker is reached over TLS")
    ca_file: str = Field("", description="PEM file; empty: the system's certificates")
    cert_file: str = Field("", description="PEM file of the client certificate")
    key_file: str = Field("", description="PEM file of its key")


class MqttSettings(Section):
    """The table ``[mqtt]``."""

    host: str = Field("127.0.0.1", min_length=1, description="Of the broker")
    port: int = Field(1883, ge=1, le=65_535, description="Of the broker")
    socket: str = Field("", description="Path of the broker's unix socket, in place of host and port")
    root: Annotated[str, AfterValidator(setting_checks.root)] = Field(
        "", description="Of all topics; empty: edge/<gateway id>"
    )
    username: str = Field("", description="As the broker knows the gateway; empty: none")
    password: SecretStr = Field(SecretStr(""), description="Better as the credentials file mqtt_password")
    keepalive: int = Field(15, ge=1, le=3_600, description="Seconds; a dead broker is noticed after twice as long")
    connect_timeout: float = Field(5.0, gt=0, le=60, description="Seconds")
    receive_maximum: int = Field(100, ge=1, le=65_535, description="Commands in flight from the broker")
    publish_window: int = Field(100, ge=1, le=65_535, description="Messages in flight to the broker")
    session_expiry: int = Field(604_800, ge=60, le=2**32 - 2, description="Seconds that the broker keeps our session")
    will_delay: int = Field(5, ge=0, le=3_600, description="Seconds until the broker says that we are offline")
    max_payload: int = Field(65_536, ge=256, le=16_777_216, description="Bytes of a command; more is refused unread")
    watch_drops: bool = Field(
        default=True, description="Ask the broker how many messages it drops ($SYS); it need not tell"
    )
    backoff_min: float = Field(0.2, gt=0, le=60, description="Seconds before the first attempt to connect again")
    backoff_max: float = Field(30.0, gt=0, le=3_600, description="Seconds between attempts at the most")
    tls: TlsSettings = TlsSettings()


class OperatorSettings(Section):
    """``[[operators]]``: who may command devices other than himself."""

    actors: Patterns = Field(description="Names or glob patterns of actors")
    devices: Patterns = Field(("*",), description="Names or glob patterns of devices")
    commands: Patterns = Field(("*",), description="Names or glob patterns of commands")


class EventStoreSettings(Section):
    """The table ``[event_store]``."""

    url: Annotated[str, AfterValidator(setting_checks.store_url)] = Field(
        "", description="Of an EventStoreDB or KurrentDB; empty: the embedded store"
    )
    username: str = Field("", description="As that store knows the gateway; empty: none")
    password: SecretStr = Field(SecretStr(""), description="Better as the credentials file event_store_password")
    ca_file: str = Field("", description="PEM file; empty: the system's certificates")
    prefix: Annotated[str, AfterValidator(setting_checks.stream_prefix)] = Field(
        "", description="Before every stream's name; gateways with the same one share their devices"
    )
    deadline: float = Field(5.0, gt=0, le=60, description="Seconds that one call to that store may take")
    in_flight: int = Field(16, ge=1, le=64, description="Calls to that store at once")
    keepalive: float = Field(10.0, ge=0.2, le=3_600, description="Seconds between two signs of life of the connection")
    patience: float = Field(
        2.0, ge=0, le=60, description="Seconds that a command waits for the store; then it is parked"
    )
    snapshot_every: int = Field(1_000, ge=10, description="Events of a device between two snapshots")

    def at(self, url: str) -> "EventStoreSettings":
        """The same for a store elsewhere.

        Raises:
            SettingsError: the URL is none of an event store.
        """
        try:
            return type(self)(**{**dict(self), "url": url})
        except ValidationError as error:
            raise SettingsError(f"{url!r}: {error.errors(include_context=False)[0]['msg']}") from None


class LimitSettings(Section):
    """The table ``[limits]``."""

    commands_per_second: float = Field(200.0, ge=0, description="That an actor may sustain; 0: no limit")
    burst: int = Field(1_000, ge=1, description="Commands that an actor may send at once after a pause")
    batch: int = Field(64, ge=1, le=1_000, description="Commands of one device that are decided together")
    cached_devices: int = Field(10_000, ge=1, description="Whose state is kept in memory")
    parked: int = Field(100_000, ge=0, description="Commands that may wait for a store that is away")
    parked_per_actor: int = Field(1_000, ge=0, description="Of them, of one actor")
    disk_reserve: int = Field(67_108_864, ge=0, description="Bytes that parked commands leave free on the disk")
    refusal_days: int = Field(30, ge=1, le=36_500, description="Days for which a refusal is remembered")


class ReadModelSettings(Section):
    """The table ``[readmodel]``."""

    projections: tuple[str, ...] = Field(
        (), strict=False, description="module:attribute, one projection of one's own or several"
    )
    flush_interval: float = Field(30.0, gt=0, description="Seconds between two writes of the cache, if it changed")


class HomeAssistantSettings(Section):
    """The table ``[homeassistant]``."""

    enabled: bool = Field(default=False, description="Whether devices appear in Home Assistant by themselves")
    prefix: Annotated[str, AfterValidator(setting_checks.root), Field(min_length=1)] = Field(
        "homeassistant", description="Of its discovery topics, as it is set there"
    )


class HealthSettings(Section):
    """The table ``[health]``."""

    interval: float = Field(10.0, gt=0, description="Seconds between two health messages")


class MetricsSettings(Section):
    """The table ``[metrics]``."""

    listen: Annotated[str, AfterValidator(setting_checks.address)] = Field(
        "", description="host:port, or unix: and a path, of /metrics, /healthz and /readyz; empty: not served"
    )


class TracingSettings(Section):
    """The table ``[tracing]``."""

    endpoint: Annotated[str, AfterValidator(setting_checks.collector_url)] = Field(
        "", description="Of an OpenTelemetry collector that takes OTLP over HTTP; empty: no spans"
    )
    headers: Annotated[SecretStr, AfterValidator(setting_checks.secret_headers)] = Field(
        SecretStr(""), description="name=value,name=value for it; better as the credentials file tracing_headers"
    )
    ca_file: str = Field("", description="PEM file; empty: the authorities that come with the library")
    sample: float = Field(1.0, ge=0, le=1, description="Share of the commands that have a span, where no sender says")


class OutageSettings(Section):
    """The table ``[outages]``."""

    settle: float = Field(60.0, gt=0, description="Seconds; what comes back sooner is the same outage")
    clock_tolerance: float = Field(2.0, ge=0.1, description="Seconds by which the clock may jump unrecorded")


class LogSettings(Section):
    """The table ``[log]``."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is told")
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal, native in the journal, else JSON"
    )


class DomainSettings(Section):
    """The table ``[domain]``."""

    deciders: Patterns = Field(("gateway.domain:DECIDERS",), description="module:attribute, one decider or several")


class Settings(Section):
    """All settings."""

    gateway: GatewaySettings = GatewaySettings()
    mqtt: MqttSettings = MqttSettings()
    operators: tuple[OperatorSettings, ...] = Field((), strict=False, description="Who may command others")
    event_store: EventStoreSettings = EventStoreSettings()
    limits: LimitSettings = LimitSettings()
    readmodel: ReadModelSettings = ReadModelSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    health: HealthSettings = HealthSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    outages: OutageSettings = OutageSettings()
    log: LogSettings = LogSettings()
    domain: DomainSettings = DomainSettings()

    @property
    def root(self) -> str:
        """The root of all topics."""
        return self.mqtt.root or f"edge/{self.gateway.id}"


def load_catalogue(settings: DomainSettings) -> Catalogue:
    """The aggregates that the settings name, and the gateway's own.

    Raises:
        SettingsError: one cannot be imported, or two of them claim the same name.
    """
    deciders = load_deciders(settings.deciders)
    try:
        return Catalogue((*deciders, GATEWAY))
    except ValueError as error:
        raise SettingsError(f"domain.deciders: {error}") from error


def load_deciders(names: Sequence[str]) -> list[Decider[Any]]:
    """The deciders that these ``module:attribute`` names stand for.

    Raises:
        SettingsError: one of them cannot be imported, or is no decider.
    """
    return _imported("domain.deciders", names, Decider, "decider")


def load_projections(settings: ReadModelSettings) -> list[CustomProjection]:
    """The projections of one's own that the settings name.

    Raises:
        SettingsError: one cannot be imported, or two of them have one name.
    """
    found = _imported("readmodel.projections", settings.projections, CustomProjection, "projection")
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"readmodel.projections: {', '.join(twice)} is there twice")
    return found


def _imported(key: str, names: Sequence[str], wanted: type[T], kind: str) -> list[T]:
    """The objects that these ``module:attribute`` names stand for, each one or a sequence of them."""
    found: list[T] = []
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            value = getattr(import_module(module), attribute)
        except (Exception, SystemExit) as error:  # somebody else's module may raise anything, or end itself
            reason = f"{type(error).__name__}: {error}"
            raise SettingsError(f"{key}: {name} cannot be imported: {reason}") from error
        several = value if isinstance(value, Sequence) else (value,)
        if not several or not all(isinstance(one, wanted) for one in several):
            raise SettingsError(f"{key}: {name} is no {kind}")
        found += several
    return found
