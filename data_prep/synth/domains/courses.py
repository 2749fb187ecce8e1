"""find_course({"subject": "statistics"}) -> {"course_code": "STA-201"}. A university's courses and students."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of, reads
from data_prep.synth.kinds import CLIENT, EVENT_DATE, INTEGER, PERSON, TEXT, Names, date_in

SUBJECTS = ("statistics", "philosophy", "chemistry", "linguistics", "robotics", "astronomy")
SUBJECT = Kind("Subject", "string", "subject", "{}", lambda rng, s: rng.choice(SUBJECTS))
COURSE = Kind("CourseCode", "string", "course", "course {}", one_of("courses"))
STUDENT = Kind("StudentId", "string", "student", "student {}", one_of("students"))


def build(rng: Random, names: Names) -> State:
    code_of = {subject: f"{subject[:3].upper()}-{rng.randint(100, 499)}" for subject in SUBJECTS}
    courses = {
        code: {
            "lecturer": rng.choice(names.people),
            "credits": rng.randint(3, 12),
            "exam_date": date_in(rng, names.year),
            "lecture_hall": f"Hall {rng.randint(1, 30)}",
        }
        for code in code_of.values()
    }
    ids = [f"s{number}" for number in rng.sample(range(1000000, 9999999), len(names.people))]
    id_of = dict(zip(names.people, ids, strict=True))
    return {"code_of": code_of, "courses": courses, "id_of": id_of, "students": dict.fromkeys(ids), "rng": rng}


def enroll_student(state: State, student_id: str, course_code: str) -> dict:
    known(state["students"], student_id, "student")
    known(state["courses"], course_code, "course")
    return {"enrollment_no": state["rng"].randint(20000, 99999)}


FUNCTIONS = (
    Function(
        "find_course", "Find the course code for a subject.",
        (Param("subject", SUBJECT, "Subject name"),),
        (Return("course_code", COURSE, ("the {subject} course", "the course on {subject}")),),
        asks=("find the {subject} course", "look up the course on {subject}"),
        says=("The {subject} course is {course_code}.",), run=finds("code_of", "course_code"),
    ),
    Function(
        "get_lecturer", "Get the lecturer of a course.",
        (Param("course_code", COURSE, "Course code"),),
        (Return("lecturer", PERSON, ("the lecturer of {course_code}",)),),
        asks=("find out who teaches {course_code}", "look up the lecturer of {course_code}"),
        says=("The lecturer of {course_code} is {lecturer}.",), run=reads("courses", "lecturer"),
    ),
    Function(
        "get_course_credits", "Get the credits of a course.",
        (Param("course_code", COURSE, "Course code"),),
        (Return("credits", INTEGER),),
        asks=("check how many credits {course_code} gives", "find out the credits of {course_code}"),
        says=("{course_code} gives {credits} credits.",), run=reads("courses", "credits"),
    ),
    Function(
        "get_exam_date", "Get the exam date of a course.",
        (Param("course_code", COURSE, "Course code"),),
        (Return("exam_date", EVENT_DATE, ("the exam date of {course_code}",)),),
        asks=("look up the exam date of {course_code}", "find out when the exam of {course_code} is"),
        says=("The exam of {course_code} is on {exam_date}.",), run=reads("courses", "exam_date"),
    ),
    Function(
        "get_lecture_hall", "Get the lecture hall of a course.",
        (Param("course_code", COURSE, "Course code"),),
        (Return("lecture_hall", TEXT),),
        asks=("find the lecture hall of {course_code}", "check where {course_code} takes place"),
        says=("{course_code} takes place in {lecture_hall}.",), run=reads("courses", "lecture_hall"),
    ),
    Function(
        "find_student", "Find the id of a student by name.",
        (Param("student_name", CLIENT, "Name of the student"),),
        (Return("student_id", STUDENT, ("the student {student_name}", "the student named {student_name}")),),
        asks=("find the id of the student {student_name}", "look up the student named {student_name}"),
        says=("The student {student_name} has the id {student_id}.",), run=finds("id_of", "student_id"),
    ),
    Function(
        "enroll_student", "Enroll a student in a course.",
        (Param("student_id", STUDENT, "Student id"), Param("course_code", COURSE, "Course code")),
        (Return("enrollment_no", INTEGER),),
        asks=("enroll {student_id} in {course_code}", "sign {student_id} up for {course_code}"),
        says=("Student {student_id} is enrolled in {course_code} with number {enrollment_no}.",), run=enroll_student,
    ),
)  # fmt: skip

DOMAIN = Domain("courses", ("The new term is about to start.", "I'm at the study office."), build, FUNCTIONS)
