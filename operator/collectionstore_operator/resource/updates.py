"""spec.updates: when members that work may be restarted for a change."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from collectionstore_operator.resource.fields import Part, atomic, unique

WINDOWS_MAX: Final = 16
Day: TypeAlias = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAYS: Final[tuple[Day, ...]] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Window(Part, frozen=True):
    """A time in which members may be restarted."""

    start: Annotated[
        str,
        Meta(
            pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
            max_length=5,
            title="a time of day such as 02:30",
            description="start is the time of day at which the window begins, such as 02:30.",
        ),
    ]
    duration_minutes: Annotated[
        int,
        Meta(
            ge=1,
            le=1_440,
            description="durationMinutes is the length of the window in minutes. A restart that has begun in it is "
            "completed after it.",
        ),
    ]
    days: (
        Annotated[
            tuple[Annotated[Day, Meta(description="day is a day of the week.")], ...],
            Meta(
                max_length=7,
                min_length=1,
                description="days are the days on which the window begins. If absent, it begins on every day.",
                extra_json_schema=unique(),
            ),
        ]
        | None
    ) = None
    time_zone: (
        Annotated[
            str,
            Meta(
                pattern=r"^([+-](0[0-9]|1[0-4]):[0-5][0-9]|[A-Za-z][A-Za-z0-9_+/-]{0,63})$",
                max_length=64,
                title="a name such as Europe/Berlin, UTC, or an offset such as +02:00",
                description="timeZone is the zone of start and days: a name of the IANA database such as "
                "Europe/Berlin, UTC, or an offset such as +02:00, which knows no daylight saving time. A name that the "
                "operator does not know opens no window, and the condition MembersUpdated says so. If absent, UTC.",
            ),
        ]
        | None
    ) = None

    @property
    def start_minute(self) -> int:
        """Return the minute of the day at which it begins, in its zone."""
        return 60 * int(self.start[:2]) + int(self.start[3:])

    @property
    def is_named(self) -> bool:
        """Return whether the zone is a name of the IANA database, whose offset is not the same at all times."""
        return self.time_zone is not None and self.time_zone != "UTC" and self.time_zone[0] not in "+-"

    @property
    def offset_s(self) -> int:
        """Return the seconds by which a zone that is not named is ahead of UTC."""
        if self.time_zone is None or self.time_zone == "UTC":
            return 0
        minutes = 60 * int(self.time_zone[1:3]) + int(self.time_zone[4:])
        return -60 * minutes if self.time_zone[0] == "-" else 60 * minutes


class Updates(Part, frozen=True):
    """Updates determines when members that work are restarted for a change. Repair is never held back."""

    mode: (
        Annotated[
            Literal["Automatic", "Supervised"],
            Meta(
                description="mode determines who begins. Automatic: the operator. Supervised: a user, who annotates "
                "the resource with collectionstore.io/approve-update: <status.revision>. If absent, Automatic."
            ),
        ]
        | None
    ) = None
    windows: (
        Annotated[
            tuple[Window, ...],
            Meta(
                max_length=WINDOWS_MAX,
                description="windows are the times in which members may be restarted. If absent or empty, at any time.",
                extra_json_schema=atomic(),
            ),
        ]
        | None
    ) = None
