"""The story families of the held-out split; `train_stories.py` shares none of them."""

from __future__ import annotations

from data_prep.synth.maths.expressions import v
from data_prep.synth.maths.stories import FollowUp, Step, Story

STORIES = (
    Story(
        "orchard",
        {"rows": range(5, 16), "trees": range(8, 25), "apples": range(20, 60), "rotten": range(30, 200)},
        (
            "An orchard consists of {rows} rows with {trees} apple trees apiece. Every tree carries {apples} apples, "
            "of which {rotten} in the whole orchard are rotten. How many good apples can be picked?",
        ),
        (
            Step("all_trees", v.rows * v.trees, "Counting the trees: {calc}."),
            Step("all_apples", v.all_trees * v.apples, "Counting the apples: {calc}."),
            Step("good", v.all_apples - v.rotten, "Leaving out the rotten ones: {calc}."),
        ),
        (
            FollowUp(
                ("Now pack the good apples into crates of {crate}. How many crates come out, none half-filled?",),
                (Step("crates", v.good / v.crate, "Filling the crates: {calc}."),),
                {"crate": range(10, 60)},
            ),
            FollowUp(
                ("What if a storm uproots {lost} trees before harvest: how many trees stand then?",),
                (Step("standing", v.all_trees - v.lost, "Trees still standing: {calc}."),),
                {"lost": range(3, 30)},
            ),
        ),
    ),
    Story(
        "factory",
        {"machines": range(3, 12), "per_hour": range(15, 60), "shift": range(6, 11), "faulty": range(10, 100)},
        (
            "In a factory, {machines} machines stamp out {per_hour} bolts an hour apiece. During a shift of {shift} "
            "hours, {faulty} bolts turn out faulty. How many flawless bolts leave the shift?",
        ),
        (
            Step("hourly", v.machines * v.per_hour, "Bolts per hour: {calc}."),
            Step("made", v.hourly * v.shift, "Bolts per shift: {calc}."),
            Step("flawless", v.made - v.faulty, "Flawless bolts: {calc}."),
        ),
        (
            FollowUp(
                ("Imagine {shifts} such shifts in a row. How many flawless bolts would they yield?",),
                (Step("several", v.flawless * v.shifts, "Over the shifts: {calc}."),),
                {"shifts": range(2, 8)},
            ),
            FollowUp(
                ("Per hour, by how much does output grow once {new} identical machines are installed?",),
                (Step("growth", v.new * v.per_hour, "Growth per hour: {calc}."),),
                {"new": range(2, 7)},
            ),
        ),
    ),
    Story(
        "concert_hall",
        {"balcony": range(40, 200, 5), "floor_rows": range(10, 30), "row_seats": range(12, 30), "empty": range(5, 60)},
        (
            "A concert hall seats {balcony} on the balcony, plus {floor_rows} rows of {row_seats} below. Tonight "
            "{empty} seats stay empty. How big is the audience?",
        ),
        (
            Step("below", v.floor_rows * v.row_seats, "Seats below: {calc}."),
            Step("capacity", v.balcony + v.below, "Seats altogether: {calc}."),
            Step("audience", v.capacity - v.empty, "Audience tonight: {calc}."),
        ),
        (
            FollowUp(
                ("With tickets at {ticket} euros apiece, what does tonight's box office hold?",),
                (Step("box_office", v.audience * v.ticket, "Box office tonight: {calc} euros."),),
                {"ticket": range(8, 60)},
            ),
            FollowUp(
                ("Tomorrow is sold out. By how many listeners does tomorrow beat tonight?",),
                (Step("beat", v.capacity - v.audience, "Difference in listeners: {calc}."),),
            ),
        ),
    ),
    Story(
        "aquarium",
        {"length": range(4, 13), "width": range(3, 9), "height": range(3, 8), "stones": range(5, 40)},
        (
            "An aquarium measures {length} by {width} by {height} decimeters; one cubic decimeter is one liter. Stones "
            "displace {stones} liters. How many liters of water fit in?",
        ),
        (
            Step("base", v.length * v.width, "Base: {calc} square decimeters."),
            Step("space", v.base * v.height, "Space: {calc} liters."),
            Step("water", v.space - v.stones, "Water: {calc} liters."),
        ),
        (
            FollowUp(
                ("A pump delivers {flow} liters a minute. After what number of minutes is it filled?",),
                (Step("minutes", v.water / v.flow, "Filling time: {calc} minutes."),),
                {"flow": range(2, 20)},
            ),
            FollowUp(
                ("Each fish requires {need} liters. At most how many fish does that permit, given it comes out even?",),
                (Step("fish", v.water / v.need, "Fish permitted: {calc}."),),
                {"need": range(3, 16)},
            ),
        ),
    ),
)
