"""Reads channels from a page of YouTube's responses. All functions are pure and accept malformed responses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from worker.errors import InvalidItemError
from worker.model import Json
from worker.sources.creator_score import Creator, Criteria, matches_criteria, primary_language, score
from worker.sources.fields import mapping, number, sequence, text
from worker.sources.youtube_api import PAGE_SIZE


def channel_ids(listing: Mapping[str, Json]) -> list[str]:
    """Return the distinct ids of the channels in a page of search results, in their order."""
    results = map(mapping, sequence(listing.get("items")))
    ids = (text(mapping(result.get("id")).get("channelId")) for result in results)
    return [*dict.fromkeys(channel_id for channel_id in ids if channel_id)][:PAGE_SIZE]


def channel_records(payload: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return a record for each channel of a page, in the order of the search.

    Args:
        payload: Payload of a page of `YouTubeSource.fetch`.

    Returns:
        Objects with the `channel`, its `uploads` and the newest `video` of them (if they were looked up), the search
        parameters (`asked`) and the time of the search (`asked_at`).
    """
    uploads = mapping(payload.get("uploads"))
    videos = map(mapping, sequence(mapping(payload.get("videos")).get("items")))
    video_by_id = {text(video.get("id")): video for video in videos}
    records: list[dict[str, Json]] = []
    for channel in sequence(mapping(payload.get("channels")).get("items")):
        record: dict[str, Json] = {
            "channel": channel,
            "uploads": uploads.get(text(mapping(channel).get("id")) or ""),
            "asked": payload.get("asked"),
            "asked_at": payload.get("asked_at"),
        }
        records.append(record | {"video": video_by_id.get(newest_video(record) or "")})
    order = {channel_id: place for place, channel_id in enumerate(channel_ids(mapping(payload.get("search"))))}
    return sorted(records, key=lambda record: order.get(id_of(record) or "", len(order)))


def matches(payload: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return the records that match the filters, best first, up to the number of results that were still wanted.

    Unreadable records are kept, so that they show up as errors of the page.

    Raises:
        InvalidItemError: The page has no time of the search.
    """
    criteria, now = criteria_of(payload), asked_at(payload)
    passed = []
    for record in channel_records(payload):
        creator = creator_of(record)
        if not creator.title:
            passed.append((-1, record))
        elif matches_criteria(creator, criteria, now):
            passed.append((score(creator, criteria, now).total, record))
    passed.sort(key=lambda scored: scored[0], reverse=True)
    return [record for _, record in passed][: number(mapping(payload.get("asked")).get("most"))]


def criteria_of(kept: Mapping[str, Json]) -> Criteria:
    """Return the search criteria that are kept with a page or a record."""
    parameters = mapping(kept.get("asked"))
    keywords = map(text, sequence(parameters.get("keywords")))
    return Criteria(
        topic=text(parameters.get("search_term")) or "",
        keywords=tuple(keyword for keyword in keywords if keyword),
        min_subscribers=number(parameters.get("min_subscribers")),
        max_subscribers=number(parameters.get("max_subscribers")),
        language=text(parameters.get("language")),
        active_within_days=number(parameters.get("active_within_days")),
    )


def asked_at(kept: Mapping[str, Json]) -> datetime:
    """Return the time of the search that is kept with a page or a record.

    Raises:
        InvalidItemError: The time is missing or invalid.
    """
    moment = _moment(kept.get("asked_at"))
    if moment is None:
        raise InvalidItemError("must be a time", "asked_at")
    return moment


def creator_of(record: Mapping[str, Json]) -> Creator:
    """Return the creator of a record."""
    channel = mapping(record.get("channel"))
    snippet, statistics = mapping(channel.get("snippet")), mapping(channel.get("statistics"))
    branding = mapping(mapping(channel.get("brandingSettings")).get("channel"))
    video = mapping(mapping(record.get("video")).get("snippet"))
    languages = (
        text(snippet.get("defaultLanguage")),
        text(branding.get("defaultLanguage")),
        text(video.get("defaultAudioLanguage")),
        text(video.get("defaultLanguage")),
    )
    uploads = _uploads(record)
    titles = (text(mapping(upload.get("snippet")).get("title")) for _, upload in uploads or ())
    return Creator(
        title=text(snippet.get("title")) or "",
        description=text(snippet.get("description")) or "",
        keywords=text(branding.get("keywords")) or "",
        country=text(snippet.get("country")) or text(branding.get("country")),
        language=next((tag for tag in languages if primary_language(tag)), None),
        subscribers=None if statistics.get("hiddenSubscriberCount") else number(statistics.get("subscriberCount")),
        newest_upload=uploads[0][0] if uploads else None,
        upload_titles=None if uploads is None else tuple(title for title in titles if title),
    )


def id_of(record: Mapping[str, Json]) -> str | None:
    """Return the id of a record's channel; None if it has none."""
    return text(mapping(record.get("channel")).get("id"))


def uploads_playlist(record: Mapping[str, Json]) -> str | None:
    """Return the id of the playlist with all uploads of a record's channel; None if it has none."""
    details = mapping(mapping(record.get("channel")).get("contentDetails"))
    return text(mapping(details.get("relatedPlaylists")).get("uploads"))


def newest_video(record: Mapping[str, Json]) -> str | None:
    """Return the id of the channel's newest upload; None if there is none, or uploads were not looked up."""
    uploads = _uploads(record)
    return text(mapping(uploads[0][1].get("contentDetails")).get("videoId")) if uploads else None


def _uploads(record: Mapping[str, Json]) -> list[tuple[datetime, dict[str, Json]]] | None:
    """Return a channel's uploads with their times, newest first; None if they were not looked up."""
    answer = record.get("uploads")
    if not isinstance(answer, dict):
        return None
    uploads = map(mapping, sequence(answer.get("items")))
    dated = [(moment, upload) for upload in uploads if (moment := _upload_time(upload))]
    return sorted(dated, key=lambda one: one[0], reverse=True)


def _upload_time(upload: Mapping[str, Json]) -> datetime | None:
    # The snippet's time is when the video was added to the playlist, possibly before it was published.
    published = _moment(mapping(upload.get("contentDetails")).get("videoPublishedAt"))
    return published or _moment(mapping(upload.get("snippet")).get("publishedAt"))


def _moment(value: Json) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text(value) or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
