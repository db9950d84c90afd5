"""Profiles, precision, folders and versions."""

import dataclasses
import importlib.metadata
import logging
import platform

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from helpers import datasets, models, settings


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch):
    for name in (settings.PROFILE_VARIABLE, settings.CACHE_VARIABLE, settings.RECORDS_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def gpu(monkeypatch, present, bf16=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)


def test_auto_is_laptop_without_a_gpu(monkeypatch, caplog):
    gpu(monkeypatch, False)
    with caplog.at_level(logging.INFO, "helpers.settings"):
        chosen = settings.profile()
    assert (chosen.name, chosen.reason) == ("laptop", "no GPU was found")
    assert "profile laptop (no GPU was found)" in caplog.text


def test_auto_is_benchmark_with_a_gpu(monkeypatch):
    gpu(monkeypatch, True)
    chosen = settings.profile("auto")
    assert (chosen.name, chosen.reason) == ("benchmark", "a GPU was found")
    assert settings.device() == "cuda"


def test_the_environment_wins_over_a_gpu(monkeypatch):
    gpu(monkeypatch, True)
    monkeypatch.setenv(settings.PROFILE_VARIABLE, "smoke")
    chosen = settings.profile()
    assert (chosen.name, chosen.reason) == ("smoke", "EMBEDDING_BOOK_PROFILE is set")


def test_a_name_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv(settings.PROFILE_VARIABLE, "smoke")
    assert settings.profile("laptop").name == "laptop"
    assert settings.profile("laptop").reason == "asked for"


def test_a_bad_name_in_the_environment_is_an_error(monkeypatch):
    monkeypatch.setenv(settings.PROFILE_VARIABLE, "labtop")
    with pytest.raises(ValueError, match="unknown profile 'labtop'; did you mean 'laptop'"):
        settings.profile()


@pytest.mark.parametrize("name", settings.PROFILES)
def test_without_overrides_a_profile_is_the_registered_one(name):
    assert settings.profile(name) == settings.PROFILES[name]
    assert settings.PROFILES[name].name == name


@pytest.mark.parametrize("name", settings.PROFILES)
def test_what_a_profile_names_exists(name):
    chosen = settings.profile(name)
    models.spec(chosen.decoder, "decoder")
    models.spec(chosen.encoder, "encoder")
    if chosen.masked_model is not None:
        models.spec(chosen.masked_model, "masked")
    for dataset in chosen.sts:
        assert set(chosen.splits) <= set(datasets.spec(dataset).rows)
    assert settings.precision(chosen.precision) in ("float32", "bfloat16")


def test_profiles_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.profile("smoke").rows = 5


@given(rows=st.none() | st.integers(1, 10**6), seeds=st.lists(st.integers()).map(tuple), minutes=st.integers(1, 99))
@hypothesis_settings(deadline=None)
def test_overrides_replace_their_fields_and_no_others(rows, seeds, minutes):
    changed = settings.profile("smoke", rows=rows, seeds=seeds, minutes=minutes)
    assert (changed.rows, changed.seeds, changed.minutes) == (rows, seeds, minutes)
    base = settings.PROFILES["smoke"]
    assert dataclasses.replace(changed, rows=base.rows, seeds=base.seeds, minutes=base.minutes) == base
    assert settings.profile("smoke") == base


def test_unknown_profile_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown profile 'smokey'; did you mean 'smoke'.* auto, benchmark"):
        settings.profile("smokey")


def test_unknown_setting_names_the_nearest():
    with pytest.raises(ValueError, match="unknown profile setting 'row'; did you mean 'rows'"):
        settings.profile("laptop", row=3)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rows", "ten"),
        ("rows", True),
        ("rows", 2.5),
        ("resamples", False),
        ("resamples", 10.0),
        ("resamples", None),
        ("decoder", None),
        ("decoder", 135),
        ("masked_model", 7),
        ("sts", "stsb"),
        ("sts", ("stsb", 12)),
        ("seeds", 100),
        ("seeds", [100, 13]),
        ("seeds", (100, True)),
        ("seeds", ("100",)),
        ("minutes", "5"),
        ("minutes", True),
        ("keep_vectors", 1),
        ("keep_vectors", "yes"),
    ],
)
@pytest.mark.parametrize("name", settings.PROFILES)
def test_ill_typed_settings_are_refused_in_every_profile(name, key, value):
    with pytest.raises(ValueError, match=f"profile setting {key}=.* should be of type"):
        settings.profile(name, **{key: value})


def test_an_ill_typed_setting_is_quoted_with_the_type_that_fits():
    with pytest.raises(ValueError) as caught:
        settings.profile("laptop", rows="ten")
    assert str(caught.value) == "profile setting rows='ten' should be of type int | None"


@pytest.mark.parametrize(
    ("key", "value"), [("minutes", 5), ("minutes", 0.5), ("rows", None), ("masked_model", None), ("keep_vectors", True)]
)
def test_well_typed_settings_are_taken(key, value):
    assert getattr(settings.profile("paper", **{key: value}), key) == value


def test_nearest_lists_all_names_sorted_and_hints_only_where_close():
    assert settings.nearest("bta", ["gamma", "beta"]) == "did you mean 'beta'? allowed: beta, gamma"
    assert settings.nearest("zzz", ["gamma", "beta"]) == "allowed: beta, gamma"
    assert settings.nearest(5, ["gamma"]) == "allowed: gamma"


@pytest.mark.parametrize(
    ("wanted", "fast", "expected"),
    [
        ("float32", True, "float32"),
        ("float32", False, "float32"),
        ("bfloat16", False, "bfloat16"),
        ("fast", True, "bfloat16"),
        ("fast", False, "float32"),
    ],
)
def test_precision_words(monkeypatch, wanted, fast, expected):
    monkeypatch.setattr(settings, "has_fast_bfloat16", lambda: fast)
    assert settings.precision(wanted) == expected
    assert isinstance(getattr(torch, expected), torch.dtype)


@pytest.mark.parametrize("wanted", ["float16", "Float32", "", None, 32])
def test_other_precision_words_are_refused(wanted):
    with pytest.raises(ValueError, match=r"unknown precision .*allowed: bfloat16, fast, float32"):
        settings.precision(wanted)


@pytest.mark.parametrize("supported", [True, False])
def test_a_gpu_decides_on_bfloat16_itself(monkeypatch, supported):
    gpu(monkeypatch, True, supported)
    assert settings.has_fast_bfloat16() is supported


def test_a_cpu_without_the_instructions_is_not_fast(monkeypatch):
    gpu(monkeypatch, False)
    monkeypatch.setattr(settings, "_cpu_flag", lambda: False)
    assert settings.has_fast_bfloat16() is False


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx2", False), ("fpu avx512_bf16", True), ("amx_bf16 amx_tile", True), (None, False)]
)
def test_processor_flags(monkeypatch, tmp_path, flags, expected):
    file = tmp_path / "cpuinfo"
    if flags is not None:
        file.write_text(f"flags : {flags}\n")
    monkeypatch.setattr(settings, "Path", lambda _: file)
    assert settings._cpu_flag() is expected


def test_cache_folder_by_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(settings.CACHE_VARIABLE, str(tmp_path))
    assert settings.cache_folder() == tmp_path


def test_cache_folder_is_the_users_otherwise(monkeypatch):
    assert settings.cache_folder().name == "embedding-book"
    monkeypatch.setenv(settings.CACHE_VARIABLE, "")
    assert settings.cache_folder().name == "embedding-book"


def test_records_folder_by_environment(monkeypatch, tmp_path):
    assert settings.records_folder("laptop") == settings.ROOT / "_build" / "records" / "laptop"
    monkeypatch.setenv(settings.RECORDS_VARIABLE, str(tmp_path))
    assert settings.records_folder("laptop") == tmp_path / "laptop"


def test_versions_are_those_installed():
    found = settings.versions()
    assert list(found) == ["python", *settings.REPORTED_PACKAGES]
    assert found["python"] == platform.python_version()
    assert found["torch"] == importlib.metadata.version("torch")


def test_a_package_that_is_not_installed_is_said_to_be_so(monkeypatch):
    monkeypatch.setattr(settings, "REPORTED_PACKAGES", ("numpy", "no-such-package-here"))
    assert settings.versions()["no-such-package-here"] == "not installed"
