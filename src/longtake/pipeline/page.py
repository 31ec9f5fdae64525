"""The page of a training in stages (autoencoder, then denoisers): state, and charts of runs."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from longtake.page.document import PAGE, bar, duration, write_document
from longtake.page.run_page import RunFiles, details, link, progress, videos
from longtake.pipeline.plan import Plan, PlannedStage, read_plan, seconds_spent
from longtake.pipeline.results import CARD, MODEL, VIDEOS, scores
from longtake.pipeline.stages import RUNS, Stage


def write_stages_page(out: Path, stages: Sequence[Stage], running: bool) -> None:
    """Write ``index.html`` of a training in stages (autoencoder, then denoisers).

    ``out`` is the training's folder, whose plan and runs the page shows. While the training is
    ``running``, browsers reload the page.

    Raises:
        CheckpointError: the file cannot be written.
        ConfigError: the plan or a result of an evaluation is not valid.
    """
    plan = read_plan(out)
    assert plan is not None
    begun = [stage for stage in stages if stage.name in plan.stages]
    runs = {stage.name: RunFiles(out / RUNS / stage.name) for stage in begun}
    name = out.resolve().name
    parts = [f"<h1>{escape(name)}</h1>", *_summary(out, plan, running)]
    parts.append(_table(stages, plan, runs))
    parts.append(_results(out))
    for number, stage in reversed([*enumerate(stages, 1)]):
        if stage.name in runs:
            run, current = runs[stage.name], stage is begun[-1]
            parts.append(f"<h2>{number}. {escape(stage.title)}</h2>")
            parts.append(progress(run, running=running and current))
            parts.append(details(run, f"{RUNS}/{stage.name}/"))
    write_document(out / PAGE, name, "\n".join(parts), running=running)


def _summary(out: Path, plan: Plan, running: bool) -> Iterator[str]:
    spent, budget = seconds_spent(out), plan.budget_seconds
    if (out / MODEL / CARD).exists():
        left = "finished"
    elif running:
        left = f"about {duration(max(budget - spent, 0))} left"
    else:
        left = "stopped; the same command continues"
    yield f"<p>{duration(spent)} of {duration(budget)} · {left}</p>{bar(spent / budget)}"
    lines = "<br>".join(escape(line) for line in plan.footage.lines())
    yield f'<p class="note">{lines}<br>{plan.system.upper()}, {plan.size} x {plan.size} pixels</p>'


def _table(stages: Sequence[Stage], plan: Plan, runs: dict[str, RunFiles]) -> str:
    """HTML table with a row for each run: its state, steps and time."""
    head = "<tr><th>stage</th><th></th><th>steps</th><th>trained</th><th>given</th></tr>"
    last = list(runs)[-1] if runs else ""
    rows = []
    for number, stage in enumerate(stages, 1):
        planned: PlannedStage | None = plan.stages.get(stage.name)
        if planned is None:
            given = duration(stage.share * plan.budget_seconds)
            cells = ["waiting", "", "", f"about {given}"]
        else:
            run = runs[stage.name]
            done = stage.name != last or run.step >= planned.steps
            state = '<span class="done">done</span>' if done else "<b>now</b>"
            steps = f"{run.step:,} of {planned.steps:,}"
            cells = [state, steps, duration(run.seconds), duration(planned.seconds)]
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr><td>{number}. {escape(stage.title)}</td>{row}</tr>")
    return f"<table>{head}{''.join(rows)}</table>"


def _results(out: Path) -> str:
    """Long videos and scores of the finished model as HTML; empty while there are none."""
    paths = sorted((out / VIDEOS).glob("seed_*.mp4"))
    links = [link("", path.relative_to(out)) for path in paths if ".partial." not in path.name]
    shown = "<h2>Long videos</h2>" + videos(links, wide=True) if links else ""
    sheets = sorted((out / VIDEOS).glob("*_sheet.png"))
    pictures = "".join(
        f'<figure><img src="{link("", x.relative_to(out))}"></figure>' for x in sheets
    )
    rows = []
    for score in scores(out):
        rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in score) + "</tr>")
    head = (
        "<tr><th>of</th><th>score</th><th>value</th><th>95 % interval</th>"
        "<th>real against real</th><th>clips</th></tr>"
    )
    table = f"<h2>Measured on held-out footage</h2><table>{head}{''.join(rows)}</table>"
    return shown + f'<div class="steps">{pictures}</div>' + (table if rows else "")
