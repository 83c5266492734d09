"""Networks from several files, linked and trained as one: the DDPG agent of the samples."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from by_hand import compiled, slopes

pytestmark = pytest.mark.engine
Array = npt.NDArray[Any]


def held(model: Any) -> list[Array]:
    """Return copies of a model's weights."""
    return [np.array(weight) for weight in model.get_weights()]


def same(one: list[Array], other: list[Array]) -> list[bool]:
    """Tell of each array whether it is the same, bit for bit."""
    return [a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True)]


def rows(count: int, seed: int = 0) -> list[Array]:
    """Return made-up transitions: states, torques, rewards, next states."""
    random = np.random.default_rng(seed)
    return [random.normal(size=(count, n)).astype("float32") for n in (3, 1, 1, 3)]


@pytest.fixture(scope="module")
def sample(samples: Path) -> Any:
    """Return the sample script as a module."""
    spec = importlib.util.spec_from_file_location("ddpg", samples / "ddpg_pendulum.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(sample: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return an actor and a critic in files, the same on every engine."""
    actor, critic = sample.save_untrained(tmp_path_factory.mktemp("ddpg"))
    random = np.random.default_rng(1)
    for file in (actor, critic):
        model = keras.saving.load_model(file)
        model.set_weights(
            [random.normal(0, 1 / np.sqrt(w.shape[0]), w.shape) for w in model.get_weights()]
        )
        model.save(file)
    return actor, critic


@pytest.fixture
def agent(sample: Any, files: tuple[Path, Path]) -> Any:
    """Return the linked agent, untrained."""
    return sample.link(*files)


def test_each_step_moves_its_own_model(agent: Any) -> None:
    """The critic stays bit for bit in the actor's step, the actor in the critic's."""
    batch = rows(64)
    models = (agent.actor, agent.critic, agent.slow_actor, agent.slow_critic)
    for step, given, moved in [
        (agent.teach_actor, batch[:1], 0),
        (agent.teach_critic, batch, 1),
        (agent.look, batch[:1], None),
    ]:
        before = [held(model) for model in models]
        for _ in range(3):
            step(given)
        for at, (model, old) in enumerate(zip(models, before, strict=True)):
            kept = same(held(model), old)
            assert not any(kept) if at == moved else all(kept)


def test_slow_copies_follow(agent: Any, sample: Any) -> None:
    """A soft update moves each weight of the copies by its share, and nothing else."""
    agent.teach_actor(rows(64)[:1])
    agent.teach_critic(rows(64))
    tau = np.float32(sample.TAU)
    for _ in range(2):
        before = [held(m) for m in (agent.actor, agent.slow_actor, agent.critic, agent.slow_critic)]
        assert agent.follow([]) == []
        for fast, slow, now in [
            (*before[:2], held(agent.slow_actor)),
            (*before[2:], held(agent.slow_critic)),
        ]:
            for new, old, found in zip(fast, slow, now, strict=True):
                np.testing.assert_allclose(found, tau * new + (1 - tau) * old, rtol=0, atol=1e-7)
        assert all(same(held(agent.actor), before[0]))
        assert all(same(held(agent.critic), before[2]))


def test_the_actors_steps_equal_those_by_hand(agent: Any, files: tuple[Path, Path]) -> None:
    """Two hundred steps, against the engine's own gradient and Keras' optimizer, called by hand."""
    actor, critic = (keras.saving.load_model(file) for file in files)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(actor.trainable_variables)

    def loss(states: Any) -> Any:
        return -keras.ops.mean(critic([states, actor(states)]))

    # Compiled like ours: Adam turns another order of rounding into steps of its own size.
    by_hand = compiled(lambda states: slopes(lambda: loss(states), actor.trainable_variables))
    first = None
    for number in range(200):
        states = rows(64, number)[0]
        value = agent.teach_actor([states])
        wanted = float(loss(keras.ops.convert_to_tensor(states)))
        first = wanted if first is None else first
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-6)
        optimizer.apply(by_hand(keras.ops.convert_to_tensor(states)), actor.trainable_variables)
    assert wanted < first - 0.1
    for mine, other in zip(held(agent.actor), held(actor), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)


@pytest.mark.engine("tensorflow")
def test_the_return_rises(agent: Any, sample: Any) -> None:
    """The agent learns: from hanging about to upright most of the time."""
    means = sample.learn(agent, 9)
    assert np.mean(means[:2]) < -0.25
    assert np.mean(means[-3:]) > -0.12
