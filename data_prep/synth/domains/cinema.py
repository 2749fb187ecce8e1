"""find_movie({"genre": "thriller"}) -> {"movie": "Silent Harbor"}. Films, showtimes and seats."""

from __future__ import annotations

from random import Random

from data_prep.synth.domains.shop import QUANTITY
from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import INTEGER, PRICE, TEXT, Names

GENRES = ("thriller", "comedy", "western", "fantasy", "documentary", "romance")
TITLES = ("Silent Harbor", "Paper Moons", "The Last Orchard", "Glass River", "Midnight Atlas", "Copper Sky")
GENRE = Kind("Genre", "string", "genre", "{}", lambda rng, s: rng.choice(GENRES))
MOVIE = Kind("Movie", "string", "movie", '"{}"', one_of("movies"))


def build(rng: Random, names: Names) -> State:
    movies = {
        title: {
            "showtime": f"{rng.randint(13, 22)}:{rng.choice((0, 10, 20, 30, 50)):02d}",
            "director": rng.choice(names.people),
            "ticket_price": rng.randint(14, 36) / 2,
            "runtime_minutes": rng.randint(84, 171),
        }
        for title in TITLES
    }
    return {"movies": movies, "movie_of": dict(zip(GENRES, rng.sample(TITLES, len(TITLES)), strict=True)), "rng": rng}


def book_cinema_seats(state: State, movie: str, seats: int) -> dict:
    price = known(state["movies"], movie, "movie")["ticket_price"]
    return {"row": state["rng"].choice("ABCDEFGH"), "seats_total": price * seats}


FUNCTIONS = (
    Function(
        "find_movie", "Find the movie of a genre that is on now.",
        (Param("genre", GENRE, "Movie genre"),),
        (Return("movie", MOVIE, ("the {genre} movie that is on now", "the current {genre} movie")),),
        asks=("find the {genre} movie that is on now", "look up the current {genre} movie"),
        says=('The {genre} movie that is on now is "{movie}".',), run=finds("movie_of", "movie"),
    ),
    Function(
        "get_showtime", "Get the time a movie starts.",
        (Param("movie", MOVIE, "Movie title"),),
        (Return("showtime", TEXT),),
        asks=("check what time {movie} starts", "look up the showtime of {movie}"),
        says=('"{movie}" starts at {showtime}.',), run=reads("movies", "showtime"),
    ),
    Function(
        "get_director", "Get the director of a movie.",
        (Param("movie", MOVIE, "Movie title"),),
        (Return("director", TEXT),),
        asks=("find out who directed {movie}", "look up the director of {movie}"),
        says=('"{movie}" was directed by {director}.',), run=reads("movies", "director"),
    ),
    Function(
        "get_ticket_price", "Get the ticket price of a movie.",
        (Param("movie", MOVIE, "Movie title"),),
        (Return("ticket_price", PRICE, ("the price of a ticket for {movie}",)),),
        asks=("check the ticket price for {movie}", "find out how much a ticket for {movie} is"),
        says=('A ticket for "{movie}" costs {ticket_price}.',), run=reads("movies", "ticket_price"),
    ),
    Function(
        "get_runtime", "Get the length of a movie in minutes.",
        (Param("movie", MOVIE, "Movie title"),),
        (Return("runtime_minutes", INTEGER),),
        asks=("find out how long {movie} runs", "check the length of {movie}"),
        says=('"{movie}" runs for {runtime_minutes} minutes.',), run=reads("movies", "runtime_minutes"),
    ),
    Function(
        "book_cinema_seats", "Book cinema seats for a movie.",
        (Param("movie", MOVIE, "Movie title"), Param("seats", QUANTITY, "Number of seats")),
        (Return("row", TEXT), Return("seats_total", PRICE, ("the cost of {seats} seats for {movie}",))),
        asks=("book {seats} seats for {movie}", "reserve {seats} seats in {movie}"),
        says=('{seats} seats in row {row} for "{movie}" cost {seats_total}.',), run=book_cinema_seats,
    ),
)  # fmt: skip

DOMAIN = Domain("cinema", ("It's movie night.", "We want to go to the pictures."), build, FUNCTIONS)
