"""The table of bad input, row by row: which test shows what a user gets.

Several tests answer for a row where it has several sides; each is there and types the command, or
holds what the command rests on.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# Row -> what comes in, and the tests that type it. Names are FILE::TEST, without "test_" and ".py".
ROWS = {
    1: ("a model that is missing", "bad_models::what_is_no_model"),
    2: ("an empty or cut archive", "bad_models::what_is_no_model"),
    3: ("HDF5 named .keras, zip named .h5", "bad_rows::a_file_under_another_name"),
    4: ("weights without architecture", "bad_models::what_is_no_model"),
    5: ("no weights in an archive", "bad_models::a_model_without_weights"),
    6: (
        "bytecode of a Lambda",
        "bad_hostile::hostile_models",
        "bad_hostile::what_to_do_about_code",
        "audit_command::trust_runs_the_code_of_these_bytes_alone",
    ),
    7: (
        "functions named by a Lambda or an activation",
        "bad_hostile::hostile_models",
        "bad_hostile::what_to_do_about_code",
    ),
    8: (
        "classes that are not Keras' own",
        "bad_hostile::hostile_models",
        "bad_hostile::what_to_do_about_code",
        "bad_models::a_model_that_needs_code_of_its_own",
    ),
    9: ("models of other frameworks inside", "bad_hostile::hostile_models"),
    10: (
        "a vocabulary that is a path",
        "bad_hostile::hostile_models",
        "audit_command::a_vocabulary_to_be_read_needs_trust",
    ),
    11: (
        "HDF5 that leads elsewhere",
        "bad_hostile::hostile_models",
        "modelfile_links::what_a_file_links_to_is_not_opened",
    ),
    12: ("links in a folder", "bad_hostile::hostile_models"),
    13: ("archives that climb, link or repeat", "bad_hostile::hostile_models"),
    14: (
        "bombs",
        "bad_hostile::hostile_models",
        "audit_command::weights_out_of_proportion_are_refused_before_they_are_made",
    ),
    15: ("JSON of two meanings or out of proportion", "bad_hostile::hostile_models"),
    16: (
        "graphs that read, write or call",
        "bad_hostile::hostile_models",
        "audit_command::a_saved_model_that_writes_needs_trust",
    ),
    17: (
        "a SavedModel that lacks a part, or names one outside",
        "bad_rows::folders_that_lack_a_part",
        "bad_hostile::a_part_of_a_folder_that_is_cut",
        "bad_hostile::a_folder_without_variables",
        "bad_hostile::hostile_models",
    ),
    18: (
        "hostile names of layers",
        "bad_rows::names_are_never_paths_and_never_steer_a_terminal",
        "cli::names_from_files_are_never_markup",
    ),
    19: ("names that differ by case", "bad_rows::twins_that_differ_by_case_are_told_apart"),
    20: ("weights of another shape", "bad_models::weights_that_do_not_fit_their_layer"),
    21: ("weights that are NaN", "bad_rows::weights_that_are_nan"),
    22: ("layers beyond all memory", "bad_rows::layers_that_cannot_fit"),
    23: ("a newer Keras", "bad_rows::a_model_from_a_newer_keras"),
    24: ("Keras 2", "bad_rows::a_model_of_keras_2"),
    25: ("addresses on the net", "bad_rows::addresses_on_the_net"),
    26: (
        "a model that is swapped before it is loaded",
        "swapped::swapped_while_the_engine_loads",
        "swapped::swapped_while_it_is_loaded",
        "swapped::code_runs_only_from_bytes_that_are_trusted",
    ),
    27: ("a cut .npy, a header that lies", "bad_rows_data::files_that_are_no_rows"),
    28: ("trailing bytes", "bad_rows_data::trailing_bytes_are_left_out_when_asked"),
    29: ("pickled objects", "bad_rows_data::files_that_are_no_rows"),
    30: ("text named .npy", "bad_rows_data::files_that_are_no_rows"),
    31: ("records, text, dates, complex numbers", "bad_rows_data::files_that_are_no_rows"),
    32: ("other dtypes", "bad_rows_data::casts_are_named_or_refused"),
    33: ("wrong shapes", "bad_input::rows_that_do_not_fit_the_model"),
    34: (
        "Fortran order, big-endian",
        "bad_rows_data::other_layouts_give_the_same_numbers",
        "bad_rows_data::the_layout_of_several_files_is_told",
    ),
    35: ("no rows", "bad_rows_data::files_that_are_no_rows"),
    36: ("HDF5 without or with several datasets", "bad_rows_data::datasets_that_are_no_rows"),
    37: ("HDF5 that leads elsewhere", "bad_rows_data::datasets_that_are_no_rows"),
    38: (
        "a wrong checksum in the data",
        "bad_runs::a_checksum_of_the_data_that_is_wrong",
        "sources_hdf5::a_checksum_error_names_the_rows",
    ),
    39: (
        "data that change during a run",
        "bad_runs::data_that_change_during_a_run",
        "resuming::data_that_change_during_a_run_end_it",
    ),
    40: (
        "NaN in data or activations",
        "bad_rows_data::nan_is_an_error_when_asked",
        "bad_rows_data::nan_that_the_model_makes_is_an_error_when_asked",
        "cli_extract::nan_and_inf_are_counted_and_warned_of",
    ),
    41: ("token numbers out of range", "bad_input::token_numbers_that_do_not_exist"),
    42: (
        "inputs that do not fit together",
        "bad_input::inputs_of_different_lengths",
        "bad_input::data_that_are_not_there",
    ),
    43: ("unknown layers", "bad_models::an_address_of_none_or_of_several"),
    44: (
        "batch sizes",
        "bad_input::options_out_of_range",
        "bad_rows_data::batches_that_cannot_fit",
    ),
    45: ("ranges of rows", "bad_input::data_that_are_not_there"),
    46: ("an output that exists or is an input", "bad_input::an_output_that_must_not_be_written"),
    47: ("an output of a wrong kind", "bad_input::an_output_that_must_not_be_written"),
    48: ("a folder that is missing or closed", "bad_input::an_output_that_must_not_be_written"),
    49: ("a disk without room", "bad_rows::a_disk_without_room"),
    50: (
        "a disk that fills or fails",
        "bad_runs::a_disk_that_fills_or_fails_midway",
        "faults::a_disk_that_fails_at_every_step",
        "sinks_faults::a_disk_that_takes_no_more_is_an_error_not_a_crash",
    ),
    51: (
        "an output that somebody writes, or has left",
        "bad_input::an_output_that_is_being_written",
        "bad_runs::a_lock_that_nobody_holds",
        "faults::of_four_writers_one_wins",
    ),
    52: ("going on with something else", "bad_runs::going_on_with_something_else"),
    53: (
        "nothing to go on with, or a damaged journal",
        "bad_runs::going_on_with_what_is_not_there_or_complete",
        "bad_runs::a_damaged_journal",
        "faults::a_lost_journal_line_costs_no_more_than_its_rows",
    ),
    54: (
        "signals, a reader that goes away",
        "cli_process::a_signal_stops_after_the_batch_and_resume_goes_on",
        "cli_process::a_second_interrupt_ends_at_once",
        "cli::a_reader_that_goes_away_is_no_error",
    ),
    55: (
        "no memory left, a crash",
        "confinement_worker::how_work_ends",
        "confinement_worker::other_commands_are_limited_too",
    ),
    56: ("a broken home", "confinement_worker::a_broken_home_does_not_matter"),
    57: (
        "no engine, an old Keras",
        "bad_packages::without_tensorflow",
        "bad_packages::without_a_package_that_is_always_needed",
        "bad_packages::a_keras_that_is_too_old",
        "bad_input::an_engine_that_is_not_installed",
    ),
    58: (
        "no Landlock, no locks, a poor locale",
        "confinement::a_system_that_cannot_confine",
        "confinement::confinement_that_is_required",
        "sinks_names::without_locks_the_lock_file_itself_is_the_lock",
        "bad_rows::a_terminal_of_few_characters",
    ),
    59: (
        "no GPU",
        "cli_process::a_missing_device_is_said_in_two_lines",
        "bad_rows::the_device_that_was_used_is_recorded",
    ),
    60: ("packages in the current folder", "confinement::the_current_folder_is_not_imported_from"),
}


def test_every_row_is_answered_for():
    """The sixty rows are all there, in their order."""
    assert list(ROWS) == list(range(1, 61))


@pytest.mark.parametrize("row", ROWS)
def test_the_tests_of_a_row_exist(row):
    """Each test that a row names is there, and does something."""
    _, *names = ROWS[row]
    for name in names:
        file, _, test = name.partition("::")
        tree = ast.parse((TESTS / f"test_{file}.py").read_text("utf-8"))
        found = [n for n in tree.body if getattr(n, "name", "") == f"test_{test}"]
        assert len(found) == 1, name
        assert len(found[0].body) > 1
