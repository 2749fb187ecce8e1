"""find_doctor({"specialty": "cardiology"}) -> {"doctor_id": "dr-314"}. Doctors, patients, appointments."""

from __future__ import annotations

from random import Random

from data_prep.synth.functions import Domain, Function, Kind, Param, Return, State, finds, known, one_of
from data_prep.synth.kinds import CLIENT, EVENT_DATE, INTEGER, TEXT, Names, date_in

SPECIALTIES = ("cardiology", "dermatology", "neurology", "pediatrics", "radiology")
MEDICINES = ("amoxilan", "cortipan", "ibulex", "nervosin", "vitacal")
SPECIALTY = Kind("Specialty", "string", "specialty", "{}", lambda rng, s: rng.choice(SPECIALTIES))
DOCTOR = Kind("DoctorId", "string", "doctor", "doctor {}", one_of("opening_of"))
RECORD = Kind("PatientRecord", "string", "patient record", "patient record {}", one_of("medicine_of"))
MEDICINE = Kind("Medicine", "string", "medicine", "{}", lambda rng, s: rng.choice(MEDICINES))


def build(rng: Random, names: Names) -> State:
    doctors = [f"dr-{number}" for number in rng.sample(range(100, 999), len(SPECIALTIES))]
    records = [f"MR{number:06d}" for number in rng.sample(range(1000, 90000), len(names.people))]
    return {
        "doctor_for": dict(zip(SPECIALTIES, doctors, strict=True)),
        "opening_of": {doctor: date_in(rng, names.year) for doctor in doctors},
        "record_of": dict(zip(names.people, records, strict=True)),
        "medicine_of": {record: rng.choice(MEDICINES) for record in records},
        "dose_of": {medicine: rng.randrange(25, 800, 25) for medicine in MEDICINES},
        "rng": rng,
    }


def book_appointment(state: State, doctor_id: str, record_no: str) -> dict:
    known(state["opening_of"], doctor_id, "doctor")
    known(state["medicine_of"], record_no, "patient record")
    return {"appointment": f"AP{state['rng'].randint(1000, 9999)}", "room": state["rng"].randint(1, 40)}


FUNCTIONS = (
    Function(
        "find_doctor", "Find a doctor with a specialty.",
        (Param("specialty", SPECIALTY, "Medical specialty"),),
        (Return("doctor_id", DOCTOR, ("a doctor for {specialty}", "the {specialty} doctor")),),
        asks=("find a doctor for {specialty}", "look up the {specialty} doctor"),
        says=("The doctor for {specialty} is {doctor_id}.",), run=finds("doctor_for", "doctor_id"),
    ),
    Function(
        "get_next_opening", "Get the next open date of a doctor.",
        (Param("doctor_id", DOCTOR, "Doctor id"),),
        (Return("open_date", EVENT_DATE, ("the next open date of {doctor_id}",)),),
        asks=("check the next open date of {doctor_id}", "find out when {doctor_id} can next see someone"),
        says=("The next open date of {doctor_id} is {open_date}.",), run=finds("opening_of", "open_date"),
    ),
    Function(
        "find_patient_record", "Find the record number of a patient.",
        (Param("patient", CLIENT, "Name of the patient"),),
        (Return("record_no", RECORD, ("the patient record of {patient}", "the medical file of {patient}")),),
        asks=("find the patient record of {patient}", "look up the medical file of {patient}"),
        says=("The patient record of {patient} is {record_no}.",), run=finds("record_of", "record_no"),
    ),
    Function(
        "get_prescription", "Get the medicine prescribed in a patient record.",
        (Param("record_no", RECORD, "Patient record number"),),
        (Return("medicine", MEDICINE, ("the medicine prescribed in {record_no}",)),),
        asks=("look up the medicine prescribed in {record_no}", "check what is prescribed in {record_no}"),
        says=("Record {record_no} prescribes {medicine}.",), run=finds("medicine_of", "medicine"),
    ),
    Function(
        "get_daily_dose", "Get the daily dose of a medicine in milligrams.",
        (Param("medicine", MEDICINE, "Name of the medicine"),),
        (Return("milligrams", INTEGER),),
        asks=("find out the daily dose of {medicine}", "check how many milligrams of {medicine} to take a day"),
        says=("The daily dose of {medicine} is {milligrams} milligrams.",), run=finds("dose_of", "milligrams"),
    ),
    Function(
        "book_appointment", "Book an appointment of a patient with a doctor.",
        (Param("doctor_id", DOCTOR, "Doctor id"), Param("record_no", RECORD, "Patient record number")),
        (Return("appointment", TEXT), Return("room", INTEGER)),
        asks=("book an appointment with {doctor_id} for {record_no}",
              "arrange for {doctor_id} to see {record_no}"),
        says=("Appointment {appointment} of {record_no} with {doctor_id} is in room {room}.",), run=book_appointment,
    ),
)  # fmt: skip

DOMAIN = Domain(
    "clinic", ("I work at the clinic's reception.", "I'm helping a relative with health care."), build, FUNCTIONS
)
