"""The rollouts: one clip, clip after clip, and keyframes with the frames between them."""

from collections.abc import Mapping, Set
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor

from longtake.diffusion.clip_sampler import ClipSampler
from longtake.diffusion.signals import context_frames, no_context, previous_signal, rows
from longtake.noise import derive
from longtake.rollout.base import (
    Chunk,
    Request,
    Role,
    Rollout,
    Samplers,
    State,
    check_overlap,
    following,
    needed_for_longer,
    sample_clip,
)


class OneClip(Rollout):
    """Samples a single clip; asking for a longer video is a ValueError."""

    kind: Literal["one_clip"] = "one_clip"

    def most_frames(self, samplers: Samplers) -> int:
        return samplers["first"].spec.clip[0]

    def grain(self, samplers: Samplers) -> int:
        return samplers["first"].spec.clip[0]

    def first_step_frames(self, samplers: Samplers, given_frames: int = 0) -> int:
        del given_frames
        return samplers["first"].spec.clip[0]

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        sample = samplers["first"]
        if state.step:
            raise ValueError(needed_for_longer(sample.spec))
        z, memory = sample_clip(sample, request.signals, request, state.step)
        return Chunk(z, State(state.step + 1, memory=memory))


class Autoregressive(Rollout):
    """Each clip starts with the last frames of the clip before (LVDM, autoregressive prediction).

    Attributes:
        overlap_latent_frames: number of latent frames that neighbouring clips share, fewer than a
            clip has; 1 in the paper.
    """

    renamed: ClassVar[Mapping[str, str]] = {"overlap": "overlap_latent_frames"}
    adds: ClassVar[Mapping[Role, Set[str]]] = {"first": set(), "next": {"context"}}

    kind: Literal["autoregressive"] = "autoregressive"
    overlap_latent_frames: Annotated[int, Ge(1)] = 1

    @property
    def context_latent_frames(self) -> int:
        return self.overlap_latent_frames

    def grain(self, samplers: Samplers) -> int:
        spec = samplers["first"].spec
        return (spec.frames - self.overlap_latent_frames) * spec.clip[0] // spec.frames

    def first_step_frames(self, samplers: Samplers, given_frames: int = 0) -> int:
        del given_frames
        return samplers["first"].spec.clip[0]

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        sample, signals = samplers["first"], request.signals
        spec, overlap = sample.spec, self.overlap_latent_frames
        check_overlap(overlap, spec.frames)
        if state.step:
            sample = samplers["next"]
            tail = dict(enumerate(state.latents["tail"].unbind(spec.time_axis)))
            signals = context_frames(spec, tail, following(signals, state.memory))
        elif "context" in sample.reads:
            signals = {**no_context(spec, len(request.seeds)), **signals}
        z, memory = sample_clip(sample, signals, request, state.step)
        fresh = z.narrow(spec.time_axis, overlap, spec.frames - overlap) if state.step else z
        tail = z.narrow(spec.time_axis, spec.frames - overlap, overlap)
        return Chunk(fresh, State(state.step + 1, {"tail": tail.clone()}, memory))


class NextClip(Rollout):
    """Each clip is conditioned on the whole latent of the previous clip (PVDM).

    In the paper and the official code clips share no frames. If the denoiser was trained on
    overlapping clips, the clips overlap here too, and the decoder cross-fades the shared frames.

    The first clip has no previous clip unless the request has the signal ``previous``.
    """

    adds: ClassVar[Mapping[Role, Set[str]]] = {"first": set(), "next": {"previous"}}

    kind: Literal["next_clip"] = "next_clip"

    def grain(self, samplers: Samplers) -> int:
        spec = samplers["first"].spec
        return spec.clip[0] - spec.clip_overlap_frames

    def first_step_frames(self, samplers: Samplers, given_frames: int = 0) -> int:
        del given_frames
        return samplers["first"].spec.clip[0]

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        sample, signals = samplers["first"], request.signals
        if state.step:
            before = previous_signal(state.latents["previous"])
            sample, signals = samplers["next"], {**following(signals, state.memory), **before}
        z, memory = sample_clip(sample, signals, request, state.step)
        return Chunk(z, State(state.step + 1, {"previous": z}, memory))


class Hierarchical(Rollout):
    """Keyframes are predicted and the frames between them interpolated (LVDM).

    Every pair of neighbouring keyframes is filled, the pairs of ``clips_per_step`` clips of
    keyframes in one batch; the official code fills a third of the pairs, one by one. Keyframes
    enter the video as they were predicted.

    Attributes:
        keyframes: rollout that predicts the keyframes.
        clips_per_step: number of clips of keyframes that are predicted before their pairs are
            filled; more take more memory and give the same video up to rounding.
    """

    renamed: ClassVar[Mapping[str, str]] = {"keys": "keyframes", "clips_a_step": "clips_per_step"}
    adds: ClassVar[Mapping[Role, Set[str]]] = {**Autoregressive.adds, "interpolator": {"context"}}

    kind: Literal["hierarchical"] = "hierarchical"
    keyframes: Autoregressive = Autoregressive()
    clips_per_step: Annotated[int, Ge(1)] = 1

    @property
    def context_latent_frames(self) -> int:
        return self.keyframes.overlap_latent_frames

    def latent_stride(self, samplers: Samplers) -> int:
        return samplers["interpolator"].spec.frames - 1

    def grain(self, samplers: Samplers) -> int:
        fresh = samplers["first"].spec.frames - self.keyframes.overlap_latent_frames
        return self.clips_per_step * fresh * _frames_per_pair(samplers)

    def first_step_frames(self, samplers: Samplers, given_frames: int = 0) -> int:
        del given_frames
        shared_pairs = self.keyframes.overlap_latent_frames - 1
        return self.grain(samplers) + shared_pairs * _frames_per_pair(samplers)

    def step(self, samplers: Samplers, request: Request, state: State) -> Chunk:
        """Predict ``clips_per_step`` clips of keyframes and fill the pairs that they complete.

        The last keyframe is held back: it starts the next step's latents.
        """
        spec, clips = samplers["first"].spec, state.step * self.clips_per_step
        inner = State(clips, state.latents, state.memory)
        keyframes = [state.latents["left"]] if clips else []
        for _ in range(self.clips_per_step):
            clip, inner, _ = self.keyframes.step(samplers, request, inner)
            keyframes.extend(clip.unbind(spec.time_axis))
        fresh = spec.frames - self.keyframes.overlap_latent_frames
        first = spec.frames - 1 + (clips - 1) * fresh if clips else 0
        z = fill_pairs(samplers["interpolator"], request, keyframes, first)
        latents = {**inner.latents, "left": keyframes[-1].clone()}
        return Chunk(z, State(state.step + 1, latents, inner.memory))


def _frames_per_pair(samplers: Samplers) -> int:
    """Number of frames of video from a keyframe to the next."""
    spec = samplers["interpolator"].spec
    return (spec.frames - 1) * spec.clip[0] // spec.frames


def fill_pairs(
    sample: ClipSampler, request: Request, keyframes: list[Tensor], first: int
) -> Float[Tensor, "b c f h w"]:
    """Sample the latent frames between neighbouring keyframes, all pairs in one batch.

    Args:
        sample: samples clips whose first and last latent frames are given.
        request: seeds and signals of the videos.
        keyframes: latents ``(b, c, h, w)`` of two or more keyframes of each video.
        first: index of the first pair in the video; the noise of each pair follows from its index.

    Returns:
        The latents from the first keyframe on, up to the last, which is left out.
    """
    spec, pairs = sample.spec, len(keyframes) - 1
    ends = {0: torch.cat(keyframes[:-1]), spec.frames - 1: torch.cat(keyframes[1:])}
    samples = torch.arange(len(request.seeds)).repeat(pairs)
    read = {k: v for k, v in following(request.signals).items() if k in sample.reads}
    signals = context_frames(spec, ends, rows(read, samples))
    seeds = [
        derive(seed, "between", pair)  # a seed path: the word decides the video
        for pair in range(first, first + pairs)
        for seed in request.seeds
    ]
    z = sample(signals, seeds, request.on_evaluation, request.guidance).z
    filled = z.narrow(spec.time_axis, 0, spec.frames - 1)
    filled = filled.unflatten(0, (pairs, len(request.seeds)))
    return torch.cat(list(filled), dim=spec.time_axis)
