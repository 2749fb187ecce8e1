"""Tool-Query's weather and movie tools on recorded responses: what each asks, and what it keeps of the answer.

    weather("get_elevation", {"latitude": 59.9, "longitude": 10.7}, cassette, {"current_date": "2023-06-15"})
        -> (what the model is shown, what counts as the subgoal)

The requests are the published ones, so recordings can be made from these addresses. The subgoal leaves out what changes
with time: temperatures as reanalysed, votes, revenues, biographies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from eval.environments.cassette import Cassette

ARCHIVE = "https://archive-api.open-meteo.com/v1/archive"
GEOCODING = "https://geocoding-api.open-meteo.com/v1/search"
AIR_QUALITY = "https://air-quality-api.open-meteo.com/v1/air-quality"
ELEVATION = "https://api.open-meteo.com/v1/elevation"
MOVIES = "https://api.themoviedb.org/3"
MAX_DAYS = timedelta(days=30)
DAILY = {
    "temp": "temperature_2m_max,temperature_2m_min,temperature_2m_mean",
    "rain": "rain_sum",
    "snow": "snowfall_sum",
}
UNKEPT = ("elevation", "generationtime_ms", "timezone", "timezone_abbreviation", "utc_offset_seconds")
UNKEPT_OF_PLACES = ("elevation", "feature_code", "country", "timezone", "population", "postcodes")
CHANGING = ("overview", "biography", "vote_average", "genres", "revenue", "budget", "release_date")
LEVELS = ((20, "good"), (40, "fair"), (60, "moderate"), (80, "poor"), (100, "very poor"))
COUNTRIES = ("NL", "CN", "US", "DE")
EARTH_RADIUS_KM, EQUATOR_KM, FLATTENING = 6371.0, 6378.137, 1 / 298.257223563


class Refusal(Exception):
    """The tool's own word that it does not do this; the model is shown it, and it is no error."""


def weather(name: str, arguments: dict[str, Any], cassette: Cassette, setting: dict[str, Any]) -> tuple[Any, Any]:
    """Run a weather tool: what is shown, and its subgoal. Raises Refusal, NotRecordedError, KeyError, ValueError."""
    shown = _weather(name, arguments, cassette, setting)
    if isinstance(shown, dict) and "temperature_2m_max" in shown.get("daily", {}):
        days = {key: value for key, value in shown["daily"].items() if not key.startswith("temperature_2m")}
        return shown, shown | {"daily": days}
    return shown, shown


def _weather(name: str, arguments: dict[str, Any], cassette: Cassette, setting: dict[str, Any]) -> Any:
    if name in ("get_user_current_date", "get_user_current_location"):
        return setting[name.removeprefix("get_user_")]
    if name == "get_latitude_longitude":
        found = cassette.get(GEOCODING, {"name": arguments["name"], "count": 3, "language": "en", "format": "json"})
        return {"results": [_place(place) for place in found["results"]]}
    if name == "get_elevation":
        return cassette.get(ELEVATION, arguments)
    if name == "get_distance":
        return distance_km(*(float(arguments[key]) for key in ("latitude1", "longitude1", "latitude2", "longitude2")))
    if name == "get_air_quality_level":
        index = arguments["air_quality_index"]
        return next((level for limit, level in LEVELS if index <= limit), "extremely poor")
    place = {key: arguments[key] for key in ("latitude", "longitude")}
    days = _days(name, arguments, date.fromisoformat(setting["current_date"]))
    if name.endswith("air_quality_index"):
        return _noon(cassette.get(AIR_QUALITY, place | days | {"timezone": "GMT", "hourly": "european_aqi_pm2_5"}))
    kind = next(kind for kind in DAILY if f"_{kind}" in name)
    found = cassette.get(ARCHIVE, place | days | {"timezone": "GMT", "daily": DAILY[kind]})
    return {key: value for key, value in found.items() if key not in UNKEPT}


def _days(name: str, arguments: dict[str, Any], today: date) -> dict[str, str]:
    """The period that a tool asks for. Raises Refusal for the wrong side of today or more than 30 days."""
    if "current_date" in arguments:
        return {"start_date": arguments["current_date"], "end_date": arguments["current_date"]}
    ends = [date.fromisoformat(arguments[key]) for key in ("start_date", "end_date")]
    if "historical" in name and not all(day < today for day in ends):
        raise Refusal("Error: start_date and end_date should be earlier than current_date")
    if "forecast" in name and not all(day > today for day in ends):
        raise Refusal("Error: start_date and end_date should be later than current_date")
    if ends[1] - ends[0] > MAX_DAYS:
        raise Refusal(f"Error: at most {MAX_DAYS.days} days in one query; split it")
    return {"start_date": arguments["start_date"], "end_date": arguments["end_date"]}


def _place(place: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in place.items()
        if key not in UNKEPT_OF_PLACES and "admin" not in key and not key.endswith("id")
    }


def _noon(found: dict[str, Any]) -> dict[str, Any]:
    """Hourly values as one a day, that of 12:00."""
    hours = found["hourly"]
    noons = range(12, len(hours["time"]) // 24 * 24, 24)
    daily = {key: [hours[key][hour] for hour in noons] for key in ("time", "european_aqi_pm2_5")}
    place = {key: found[key] for key in ("latitude", "longitude")}
    return place | {"daily_units": found["hourly_units"], "daily": daily}


def movie(name: str, arguments: dict[str, Any], cassette: Cassette) -> tuple[Any, Any]:
    """Run a movie tool: what is shown, and its subgoal. Raises NotRecordedError, KeyError, IndexError."""
    path, keep = MOVIE_TOOLS[name]
    if "{" in path:
        number = next(iter(arguments.values()))
        if not number.isdecimal():
            raise ValueError("an id is a number")
        shown = keep(cassette.get(MOVIES + path.format(number)))
    else:
        search = {"query": next(iter(arguments.values())), "include_adult": "false", "language": "en-US", "page": "1"}
        shown = keep(cassette.get(MOVIES + path, search))
    return shown, [_lasting(item) for item in shown] if isinstance(shown, list) else _lasting(shown)


def _lasting(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in CHANGING}


def _keys(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {name: found[name] for name in names}


def _first(*names: str) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    return lambda found: [{name: item[name] for name in names} for item in found["results"][:1]]


def _ten(part: str, *names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {part: [{name: item[name] for name in names} for item in found[part][:10]]}


def _crew(found: dict[str, Any]) -> dict[str, Any]:
    """Directors, producers and writers, filled up to ten with others who are not among them."""
    crew = [{name: item[name] for name in ("id", "name", "job")} for item in found["crew"]]
    leading = [item for item in crew if item["job"] in ("Director", "Producer", "Writer")]
    ids = {item["id"] for item in leading}
    others = [item for item in crew if item["id"] not in ids]
    return {"crew": leading + others[: max(0, 10 - len(leading))]}


def _translations(found: dict[str, Any]) -> dict[str, Any]:
    kept = [item for item in found["translations"] if item["iso_3166_1"] in COUNTRIES]
    data = [{key: value for key, value in item["data"].items() if key != "title"} for item in kept]
    return found | {"translations": [item | {"data": body} for item, body in zip(kept, data, strict=True)]}


MOVIE_TOOLS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "get_search_movie": ("/search/movie", _first("id", "overview", "title")),
    "get_search_person": ("/search/person", _first("id", "name")),
    "get_movie_details": (
        "/movie/{}",
        _keys("title", "budget", "genres", "revenue", "vote_average", "release_date"),
    ),
    "get_movie_production_companies": ("/movie/{}", _keys("production_companies")),
    "get_movie_production_countries": ("/movie/{}", _keys("production_countries")),
    "get_movie_cast": ("/movie/{}/credits", _ten("cast", "id", "name", "character")),
    "get_movie_crew": ("/movie/{}/credits", _crew),
    "get_movie_keywords": (
        "/movie/{}/keywords",
        lambda found: {"keywords": [keyword["name"] for keyword in found["keywords"]]},
    ),
    "get_movie_alternative_titles": ("/movie/{}/alternative_titles", dict),
    "get_movie_translation": ("/movie/{}/translations", _translations),
    "get_person_details": ("/person/{}", _keys("name", "biography", "birthday", "place_of_birth")),
    "get_person_cast": ("/person/{}/movie_credits", _ten("cast", "id", "title", "character")),
    "get_person_crew": ("/person/{}/movie_credits", _ten("crew", "id", "title", "job")),
    "get_person_external_ids": (
        "/person/{}/external_ids",
        _keys("imdb_id", "facebook_id", "instagram_id", "twitter_id"),
    ),
}


def same_place(first: tuple[float, float], second: tuple[float, float], within_km: float = 50.0) -> bool:
    """Whether two places lie within 50 km, as the published environment compares coordinates (on a sphere)."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, place)) for place in (first, second))
    a = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(a))) < within_km


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Distance on the WGS-84 ellipsoid in km, by Vincenty's inverse formula: under a millimetre from a geodesic's.

    Raises ValueError for latitudes beyond 90, and for nearly opposite places, where the formula does not converge.
    """
    if max(abs(lat1), abs(lat2)) > 90:
        raise ValueError("a latitude lies between -90 and 90")
    polar = EQUATOR_KM * (1 - FLATTENING)
    u1, u2 = (math.atan((1 - FLATTENING) * math.tan(math.radians(lat))) for lat in (lat1, lat2))
    (s1, c1), (s2, c2) = ((math.sin(u), math.cos(u)) for u in (u1, u2))
    difference = lam = math.radians(math.remainder(lon2 - lon1, 360))
    for _ in range(100):
        sin_sigma = math.hypot(c2 * math.sin(lam), c1 * s2 - s1 * c2 * math.cos(lam))
        if sin_sigma == 0:
            return 0.0
        cos_sigma = s1 * s2 + c1 * c2 * math.cos(lam)
        sigma = math.atan2(sin_sigma, cos_sigma)
        sin_alpha = c1 * c2 * math.sin(lam) / sin_sigma
        cos2_alpha = 1 - sin_alpha**2
        cos_2m = cos_sigma - 2 * s1 * s2 / cos2_alpha if cos2_alpha else 0.0
        c = FLATTENING / 16 * cos2_alpha * (4 + FLATTENING * (4 - 3 * cos2_alpha))
        before = lam
        along = cos_2m + c * cos_sigma * (2 * cos_2m**2 - 1)
        lam = difference + (1 - c) * FLATTENING * sin_alpha * (sigma + c * sin_sigma * along)
        if abs(lam - before) < 1e-12:
            break
    else:
        raise ValueError("the places lie nearly opposite each other")
    squared = cos2_alpha * (EQUATOR_KM**2 - polar**2) / polar**2
    a = 1 + squared / 16384 * (4096 + squared * (-768 + squared * (320 - 175 * squared)))
    b = squared / 1024 * (256 + squared * (-128 + squared * (74 - 47 * squared)))
    last = b / 6 * cos_2m * (4 * sin_sigma**2 - 3) * (4 * cos_2m**2 - 3)
    delta = b * sin_sigma * (cos_2m + b / 4 * (cos_sigma * (2 * cos_2m**2 - 1) - last))
    return polar * a * (sigma - delta)
