"""The story families of the training split; `held_out_stories.py` shares none of them."""

from __future__ import annotations

from data_prep.synth.maths.expressions import v
from data_prep.synth.maths.stories import FollowUp, Step, Story

STORIES = (
    Story(
        "pencils",
        {"boxes": range(3, 12), "per_box": range(6, 25), "given": range(5, 30)},
        (
            "{name} buys {boxes} boxes of pencils. Each box holds {per_box} pencils. {name} gives {given} pencils to "
            "friends. How many pencils are left?",
            "There are {per_box} pencils in a box, and {name} has {boxes} boxes. After giving {given} pencils away, "
            "how many does {name} still have?",
        ),
        (
            Step("total", v.boxes * v.per_box, "The boxes hold {calc} pencils."),
            Step("left", v.total - v.given, "After giving some away, {calc} pencils are left."),
        ),
        (
            FollowUp(
                ("If {name} then shares the remaining pencils equally among {kids} children, how many does each get?",),
                (Step("each", v.left / v.kids, "Each child gets {calc} pencils."),),
                {"kids": range(2, 9)},
            ),
            FollowUp(
                ("Suppose each pencil that was given away cost {cents} cents. What were they worth in cents?",),
                (Step("worth", v.given * v.cents, "The pencils given away were worth {calc} cents."),),
                {"cents": range(10, 60, 5)},
            ),
            FollowUp(
                ("How many pencils would be left if {name} had bought {more} more boxes?",),
                (
                    Step("extra", v.more * v.per_box, "The additional boxes hold {calc} pencils."),
                    Step("left_more", v.left + v.extra, "That makes {calc} pencils left."),
                ),
                {"more": range(2, 7)},
            ),
        ),
    ),
    Story(
        "bakery",
        {"trays": range(4, 15), "per_tray": range(6, 20), "price": range(2, 7), "unsold": range(3, 20)},
        (
            "A bakery bakes {trays} trays with {per_tray} muffins on each tray. Every muffin sells for {price} "
            "dollars. At closing time {unsold} muffins are unsold. How many dollars did the bakery take in?",
            "{name} bakes {trays} trays of {per_tray} muffins and sells all but {unsold} of them at {price} dollars "
            "each. How many dollars does {name} earn?",
        ),
        (
            Step("baked", v.trays * v.per_tray, "In total {calc} muffins were baked."),
            Step("sold", v.baked - v.unsold, "Of these, {calc} were sold."),
            Step("income", v.sold * v.price, "The sales brought in {calc} dollars."),
        ),
        (
            FollowUp(
                ("The ingredients cost {cost} dollars. What is the profit in dollars?",),
                (Step("profit", v.income - v.cost, "The profit is {calc} dollars."),),
                {"cost": range(20, 120, 5)},
            ),
            FollowUp(
                ("What would the sales have been in dollars if every muffin had been sold?",),
                (Step("all_sold", v.baked * v.price, "With all muffins sold, the sales are {calc} dollars."),),
            ),
            FollowUp(
                ("The unsold muffins go for {low} dollar each the next day. What are the total sales of both days?",),
                (
                    Step("late", v.unsold * v.low, "The unsold muffins bring {calc} dollars."),
                    Step("both", v.income + v.late, "Both days together make {calc} dollars."),
                ),
                {"low": range(1, 2)},
            ),
        ),
    ),
    Story(
        "road_trip",
        {
            "speed": range(40, 75, 5),
            "hours": range(3, 9),
            "second_speed": range(30, 60, 5),
            "second_hours": range(2, 5),
        },
        (
            "{name} drives for {hours} hours at {speed} miles per hour and then for {second_hours} hours at "
            "{second_speed} miles per hour. How many miles is that in total?",
            "On a trip, {name} covers {speed} miles every hour for {hours} hours. After that the road gets worse, and "
            "for {second_hours} hours it is only {second_speed} miles an hour. How long is the trip in miles?",
        ),
        (
            Step("first", v.speed * v.hours, "The first part is {calc} miles."),
            Step("second", v.second_speed * v.second_hours, "The second part is {calc} miles."),
            Step("trip", v.first + v.second, "Together that is {calc} miles."),
        ),
        (
            FollowUp(
                ("The car uses one gallon for every {mpg} miles. How many gallons does the trip take?",),
                (Step("gallons", v.trip / v.mpg, "The trip takes {calc} gallons."),),
                {"mpg": range(10, 41)},
            ),
            FollowUp(
                ("How many miles longer is the first part than the second part?",),
                (Step("longer", v.first - v.second, "The difference is {calc} miles."),),
            ),
            FollowUp(
                ("If {name} makes this trip {times} times a month, how many miles is that?",),
                (Step("monthly", v.trip * v.times, "In a month that is {calc} miles."),),
                {"times": range(2, 9)},
            ),
        ),
    ),
    Story(
        "savings",
        {"start": range(20, 200, 5), "weekly": range(5, 40), "weeks": range(4, 20), "spent": range(15, 90)},
        (
            "{name} has {start} dollars and saves {weekly} dollars a week for {weeks} weeks. Then {name} spends "
            "{spent} dollars on a game. How many dollars remain?",
            "Starting with {start} dollars, {name} puts aside {weekly} dollars every week. After {weeks} weeks a "
            "jacket for {spent} dollars is bought from the savings. How much money is left in dollars?",
        ),
        (
            Step("saved", v.weekly * v.weeks, "In that time {calc} dollars are saved."),
            Step("before", v.start + v.saved, "With the money from the start there are {calc} dollars."),
            Step("remain", v.before - v.spent, "After the purchase {calc} dollars remain."),
        ),
        (
            FollowUp(
                ("How many dollars does {name} have after {more} further weeks of saving the same amount?",),
                (
                    Step("further", v.weekly * v.more, "The further weeks add {calc} dollars."),
                    Step("later", v.remain + v.further, "So {name} has {calc} dollars."),
                ),
                {"more": range(2, 10)},
            ),
            FollowUp(
                ("A bicycle costs {bike} dollars. How many dollars are still missing with what remained?",),
                (Step("missing", v.bike - v.remain, "The missing amount is {calc} dollars."),),
                {"bike": range(300, 1200, 10)},
            ),
        ),
    ),
    Story(
        "school_trip",
        {"classes": range(3, 9), "pupils": range(18, 32), "teachers": range(4, 15), "seats": range(20, 61)},
        (
            "{classes} classes of {pupils} pupils and {teachers} teachers go on a trip. Each bus has {seats} seats, "
            "and all buses are full. How many buses are there?",
            "A school takes {teachers} teachers and {classes} classes with {pupils} pupils each to the zoo in buses of "
            "{seats} seats. No seat stays empty. How many buses does it take?",
        ),
        (
            Step("children", v.classes * v.pupils, "The classes have {calc} pupils."),
            Step("everyone", v.children + v.teachers, "With the teachers there are {calc} people."),
            Step("buses", v.everyone / v.seats, "That fills {calc} buses."),
        ),
        (
            FollowUp(
                ("Renting one bus costs {rent} dollars. What do all the buses cost in dollars?",),
                (Step("bus_cost", v.buses * v.rent, "The buses cost {calc} dollars."),),
                {"rent": range(90, 400, 10)},
            ),
            FollowUp(
                ("Entry is {entry} dollars for each pupil and free for teachers. What is the total entry in dollars?",),
                (Step("entry_total", v.children * v.entry, "The entry for the pupils is {calc} dollars."),),
                {"entry": range(3, 15)},
            ),
        ),
    ),
    Story(
        "farm",
        {"cows": range(8, 40), "liters": range(10, 28), "calves": range(20, 90), "days": range(3, 15)},
        (
            "A farm has {cows} cows. Each cow gives {liters} liters of milk a day, and {calves} liters a day go to the "
            "calves. How many liters can the farm sell in {days} days?",
            "Each of {name}'s {cows} cows gives {liters} liters of milk daily. The calves drink {calves} liters daily, "
            "the rest is sold. How many liters are sold within {days} days?",
        ),
        (
            Step("daily", v.cows * v.liters, "The cows give {calc} liters a day."),
            Step("for_sale", v.daily - v.calves, "Without the calves' share, {calc} liters a day are for sale."),
            Step("sold", v.for_sale * v.days, "Over all days that is {calc} liters."),
        ),
        (
            FollowUp(
                ("One liter sells for {cents} cents. How many cents does the farm earn per day?",),
                (Step("earned", v.for_sale * v.cents, "The daily earnings are {calc} cents."),),
                {"cents": range(30, 95, 5)},
            ),
            FollowUp(
                ("How many more liters a day would there be for sale with {new} additional cows?",),
                (Step("more_milk", v.new * v.liters, "The additional cows give {calc} liters a day."),),
                {"new": range(2, 12)},
            ),
        ),
    ),
    Story(
        "discount",
        {"price": range(20, 400, 20), "percent": range(5, 55, 5), "pieces": range(2, 9)},
        (
            "A chair costs {price} dollars. Today there is a discount of {percent} percent. What do {pieces} chairs "
            "cost today, in dollars?",
            "{name} buys {pieces} chairs. The usual price of a chair is {price} dollars, but today it is {percent} "
            "percent lower. How many dollars does {name} pay?",
        ),
        (
            Step("reduction", v.price * v.percent / 100, "The discount on one chair is {calc} dollars."),
            Step("reduced", v.price - v.reduction, "So one chair costs {calc} dollars."),
            Step("paid", v.reduced * v.pieces, "All chairs together cost {calc} dollars."),
        ),
        (
            FollowUp(
                ("How many dollars are saved in total compared with the usual price?",),
                (Step("saved", v.reduction * v.pieces, "The total saving is {calc} dollars."),),
            ),
            FollowUp(
                ("Delivery adds {delivery} dollars to the bill. What is the final amount in dollars?",),
                (Step("final", v.paid + v.delivery, "With delivery the bill is {calc} dollars."),),
                {"delivery": range(10, 60, 5)},
            ),
        ),
    ),
    Story(
        "reading",
        {"pages": range(120, 700, 10), "first_days": range(3, 8), "per_day": range(10, 40), "rest_days": range(4, 21)},
        (
            "{name} reads a book of {pages} pages. For {first_days} days it is {per_day} pages a day. The rest is "
            "spread evenly over {rest_days} days. How many pages a day is that?",
            "A book has {pages} pages. {name} starts with {per_day} pages a day for {first_days} days and finishes in "
            "{rest_days} more days, always the same number of pages. How many pages are read on each of those days?",
        ),
        (
            Step("begun", v.first_days * v.per_day, "In the first days {calc} pages are read."),
            Step("rest", v.pages - v.begun, "There remain {calc} pages."),
            Step("rate", v.rest / v.rest_days, "Spread evenly, that is {calc} pages a day."),
        ),
        (
            FollowUp(
                ("How many days does the whole book take?",),
                (Step("all_days", v.first_days + v.rest_days, "The book takes {calc} days."),),
            ),
            FollowUp(
                ("Reading one page takes {minutes} minutes. How many minutes a day is that for the rest of the book?",),
                (Step("time", v.rate * v.minutes, "That is {calc} minutes a day."),),
                {"minutes": range(2, 6)},
            ),
        ),
    ),
)
