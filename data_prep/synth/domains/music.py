"""find_album({"artist": "Velvet Comet"}) -> {"album": "Northern Lights"}. Albums, songs, playlists."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import INTEGER, Names

ARTISTS = ("Velvet Comet", "The Paper Foxes", "Lena Moss", "Static Garden", "Blue Caravan")
ALBUMS = ("Northern Lights", "Slow Rivers", "Bright Machines", "Winter Letters", "Open Doors")
SONGS = ("Golden Hour", "Satellite", "Run to Me", "Quiet Storm", "Firefly", "Echo Park")
MOODS = ("workout", "study", "party", "sleep")
ARTIST = Kind("Artist", "string", "artist", "{}", lambda rng, s: rng.choice(ARTISTS))
ALBUM = Kind("Album", "string", "album", 'the album "{}"', one_of("albums"))
SONG = Kind("Song", "string", "song", 'the song "{}"', one_of("songs"))
MOOD = Kind("Mood", "string", "mood", "{}", lambda rng, s: rng.choice(MOODS))
PLAYLIST = Kind("PlaylistId", "string", "playlist", "playlist {}", one_of("playlists"))


def build(rng: Random, names: Names) -> State:
    return {
        "album_by": dict(zip(ARTISTS, rng.sample(ALBUMS, len(ALBUMS)), strict=True)),
        "albums": {a: {"top_song": rng.choice(SONGS), "tracks": rng.randint(7, 18)} for a in ALBUMS},
        "songs": {song: {"seconds": rng.randint(121, 399), "beats_per_minute": rng.randint(60, 175)} for song in SONGS},
        "playlist_for": (playlists := {mood: f"pl:{rng.randint(10, 99)}{rng.choice('abcxyz')}" for mood in MOODS}),
        "playlists": {playlist: rng.randint(8, 60) for playlist in playlists.values()},
    }


def add_to_playlist(state: State, song: str, playlist_id: str) -> dict:
    known(state["songs"], song, "song")
    state["playlists"][playlist_id] = known(state["playlists"], playlist_id, "playlist") + 1
    return {"playlist_length": state["playlists"][playlist_id]}


FUNCTIONS = (
    Function(
        "find_album", "Find the newest album of an artist.",
        (Param("artist", ARTIST, "Name of the artist"),),
        (Return("album", ALBUM, ("the newest album of {artist}", "the latest record by {artist}")),),
        asks=("find the newest album of {artist}", "look up the latest record by {artist}"),
        says=('The newest album of {artist} is "{album}".',), run=finds("album_by", "album"),
    ),
    Function(
        "get_top_song", "Get the most played song of an album.",
        (Param("album", ALBUM, "Album title"),),
        (Return("top_song", SONG, ("the most played song of {album}",)),),
        asks=("find the most played song of {album}", "check which song of {album} is played most"),
        says=('The most played song of "{album}" is "{top_song}".',), run=reads("albums", "top_song"),
    ),
    Function(
        "count_tracks", "Count the tracks of an album.",
        (Param("album", ALBUM, "Album title"),),
        (Return("tracks", INTEGER),),
        asks=("count the tracks of {album}", "find out how many tracks {album} has"),
        says=('The album "{album}" has {tracks} tracks.',), run=reads("albums", "tracks"),
    ),
    Function(
        "get_song_length", "Get the length of a song in seconds.",
        (Param("song", SONG, "Song title"),),
        (Return("seconds", INTEGER),),
        asks=("check the length of {song}", "find out how many seconds {song} lasts"),
        says=('"{song}" lasts {seconds} seconds.',), run=reads("songs", "seconds"),
    ),
    Function(
        "get_tempo", "Get the tempo of a song in beats per minute.",
        (Param("song", SONG, "Song title"),),
        (Return("beats_per_minute", INTEGER),),
        asks=("look up the tempo of {song}", "find out how fast {song} is"),
        says=('"{song}" has {beats_per_minute} beats per minute.',), run=reads("songs", "beats_per_minute"),
    ),
    Function(
        "find_playlist", "Find the playlist for a mood.",
        (Param("mood", MOOD, "Mood or occasion"),),
        (Return("playlist_id", PLAYLIST, ("the {mood} playlist", "the playlist for {mood}")),),
        asks=("find the {mood} playlist", "look up the playlist for {mood}"),
        says=("The {mood} playlist is {playlist_id}.",), run=finds("playlist_for", "playlist_id"),
    ),
    Function(
        "add_to_playlist", "Add a song to a playlist.",
        (Param("song", SONG, "Song title"), Param("playlist_id", PLAYLIST, "Playlist id")),
        (Return("playlist_length", INTEGER),),
        asks=("add {song} to {playlist_id}", "put {song} on {playlist_id}"),
        says=('With "{song}" added, {playlist_id} has {playlist_length} songs.',), run=add_to_playlist,
    ),
)  # fmt: skip

DOMAIN = Domain("music", ("I'm in the mood for music.", "I am putting together some tunes."), build, FUNCTIONS)
