"""Two linked networks that learn to hold a pendulum up: `python ddpg_pendulum.py [FOLDER]`.

An actor says which torque to apply, a critic what a state and a torque are worth (DDPG, Lillicrap
et al., 2015, arXiv:1509.02971). Both are models in files. The actor learns through the critic:

    combined = critic(actor(state)),  loss = -mean(combined),  updates of the actor alone

The reward at each moment is between -1, hanging down, and 0, upright and at rest.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import layerprobe
from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

Array = npt.NDArray[np.float32]
PENDULUMS, MOMENTS, EPISODES = 8, 100, 16  # side by side; per episode; in all
BATCH, DISCOUNT, TAU, SEED = 64, 0.97, 0.01, 1


class Pendulums:
    """Rods that turn around one end; the torque is just strong enough to lift one."""

    def __init__(self, random: np.random.Generator) -> None:
        self.angle = random.uniform(-np.pi, np.pi, PENDULUMS)  # 0 is upright
        self.speed = random.uniform(-1, 1, PENDULUMS)

    def seen(self) -> Array:
        """Return what the actor sees: cosine and sine of the angle, and the speed."""
        return np.stack([np.cos(self.angle), np.sin(self.angle), self.speed / 8], 1).astype("f")

    def turn(self, torque: Array) -> Array:
        """Apply torques from -1 to 1 for a twentieth of a second; return the rewards."""
        push = 15 * np.sin(self.angle) + 18 * torque[:, 0]
        self.speed = np.clip(self.speed + 0.05 * push, -8, 8)
        self.angle = (self.angle + 0.05 * self.speed + np.pi) % (2 * np.pi) - np.pi
        cost = self.angle**2 + 0.1 * self.speed**2 + 0.01 * torque[:, 0] ** 2
        return np.asarray(-cost / np.pi**2, "float32")


class Memory:
    """The latest transitions: states, torques, rewards, next states."""

    def __init__(self, size: int = 20_000) -> None:
        self.columns = [np.zeros((size, n), "float32") for n in (3, 1, 1, 3)]
        self.count = 0

    def add(self, *columns: Array) -> None:
        """Keep some rows, in the place of the oldest."""
        rows = (self.count + np.arange(len(columns[0]))) % len(self.columns[0])
        for kept, new in zip(self.columns, columns, strict=True):
            kept[rows] = new.reshape(len(rows), -1)
        self.count += len(rows)

    def some(self, random: np.random.Generator) -> list[Array]:
        """Return a batch of rows, drawn at random."""
        rows = random.integers(0, min(self.count, len(self.columns[0])), BATCH)
        return [column[rows] for column in self.columns]


class Agent(NamedTuple):
    """The models, and what is computed with them.

    `look`: states -> torques. `teach_critic`: states, torques, rewards, next states -> loss.
    `teach_actor`: states -> loss. `follow`: nothing -> nothing, moves the slow copies.
    """

    actor: Any
    critic: Any
    slow_actor: Any
    slow_critic: Any
    look: Any
    teach_critic: Any
    teach_actor: Any
    follow: Any


def save_untrained(folder: Path) -> tuple[Path, Path]:
    """Write an actor and a critic with random weights; return the files."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(SEED)
    state, torque = keras.Input((3,), name="state"), keras.Input((1,), name="torque")
    hidden = layers.Dense(48, activation="relu")(layers.Dense(48, activation="relu")(state))
    actor = keras.Model(state, layers.Dense(1, activation="tanh", name="out")(hidden))
    both = layers.Concatenate()([state, torque])
    hidden = layers.Dense(48, activation="relu")(layers.Dense(48, activation="relu")(both))
    critic = keras.Model([state, torque], layers.Dense(1, name="out")(hidden))
    actor.save(folder / "actor.keras")
    critic.save(folder / "critic.keras")
    return folder / "actor.keras", folder / "critic.keras"


def link(actor_file: Path, critic_file: Path) -> Agent:
    """Load two models, link them, and compile the steps of their training."""
    # Loaded twice: DDPG learns towards copies that follow slowly.
    actor, slow_actor = (layerprobe.load(actor_file).keras for _ in range(2))
    critic, slow_critic = (layerprobe.load(critic_file).keras for _ in range(2))
    import keras

    state, torque = K.placeholder((None, 3)), K.placeholder((None, 1))
    reward, later = K.placeholder((None, 1)), K.placeholder((None, 3))

    worth = reward + DISCOUNT * slow_critic([later, slow_actor(later)])
    critic_loss = K.mean(K.square(critic([state, torque]) - worth))
    critic_updates = K.get_updates(keras.optimizers.Adam(2e-3), critic_loss, critic)

    combined = critic([state, actor(state)])
    actor_loss = -K.mean(combined)
    actor_updates = K.get_updates(keras.optimizers.Adam(1e-3), actor_loss, actor)

    pairs = zip(
        slow_actor.weights + slow_critic.weights, actor.weights + critic.weights, strict=True
    )
    following = [
        K.update(slow, TAU * K.symbolic(fast) + (1 - TAU) * K.symbolic(slow))
        for slow, fast in pairs
    ]
    return Agent(
        actor,
        critic,
        slow_actor,
        slow_critic,
        look=K.function([state], actor(state)),
        teach_critic=K.function([state, torque, reward, later], critic_loss, critic_updates),
        teach_actor=K.function([state], actor_loss, actor_updates),
        follow=K.function([], [], following),
    )


def learn(agent: Agent, episodes: int = EPISODES) -> list[float]:
    """Let the agent try and learn; return the mean reward at each episode."""
    random, memory = np.random.default_rng(SEED), Memory()
    means = []
    for episode in range(episodes):
        pendulums, rewards = Pendulums(random), []
        noise = max(0.1, 0.6 - 0.05 * episode)
        for _ in range(MOMENTS):
            seen = pendulums.seen()
            tried = agent.look([seen]) + noise * random.normal(size=(PENDULUMS, 1))
            torque = np.clip(tried, -1, 1).astype("float32")
            rewards.append(pendulums.turn(torque))
            memory.add(seen, torque, rewards[-1], pendulums.seen())
            batch = memory.some(random)
            agent.teach_critic(batch)
            agent.teach_actor(batch[:1])
            agent.follow([])
        means.append(float(np.mean(rewards)))
    return means


def main() -> None:
    """Save two models, link and train them, and save the actor."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="layerprobe-"))
    folder.mkdir(parents=True, exist_ok=True)
    K.select()  # fixes the engine before Keras is imported
    agent = link(*save_untrained(folder))
    means = learn(agent)
    print("episodes  mean reward")
    for first in range(0, EPISODES, 4):
        mean = float(np.mean(means[first : first + 4]))
        print(f"{first + 1:3d} to {first + 4:2d}  {mean:8.3f}  {'#' * round(60 * (1 + mean))}")
    agent.actor.save(folder / "actor_trained.keras")
    print(f"the actor that learned this: {folder / 'actor_trained.keras'}")


if __name__ == "__main__":
    main()
