// What all views share: the list of models and the list of jobs, which is asked for again and again.
import { api } from "./api.js";

const ACTIVE = new Set(["queued", "running"]);
const BUSY_MS = 1000;
const IDLE_MS = 5000;
const ANSWER_MS = 20000; // after which a connection counts as lost


class Store extends EventTarget {
  models = null;
  jobs = null;
  error = null;
  #timer = 0;
  #asking = null;
  #loading = false;
  #trained = ""; // names of the models that trainings have made
  #wanted = new Map(); // name of a model that will be in the list -> called when it is

  start() {
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
    return this.refresh();
  }

  // Asks for jobs (and models, until they are known) now; one question at a time.
  refresh() {
    this.#asking ??= this.#ask().finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #ask() {
    clearTimeout(this.#timer);
    try {
      if (!this.models) this.#askModels();
      this.jobs = await api.jobs(AbortSignal.timeout(ANSWER_MS));
      this.#found();
    } catch (error) {
      this.error = error;
    }
    this.dispatchEvent(new Event("change"));
    const busy = this.error || this.jobs?.some(active);
    this.#timer = setTimeout(() => this.refresh(), busy ? BUSY_MS : IDLE_MS);
  }

  // Asks for the models again where the list lacks one, or has one too many. After an outage it may be
  // that of another server, and what waits for frames waits on a connection that is dead: "back".
  #found() {
    const away = this.error;
    const made = this.jobs.map((job) => job.result?.model).filter(Boolean);
    const lacking = this.#wanted.size || made.some((name) => !this.model(name));
    if (this.models && (away || lacking || made.join() !== this.#trained)) this.#askModels();
    [this.error, this.#trained] = [null, made.join()];
    if (away) this.dispatchEvent(new Event("back"));
  }

  // Takes a while after the server has started: each model is loaded once and measured.
  async #askModels() {
    if (this.#loading) return;
    this.#loading = true;
    try {
      this.models = await api.models();
      for (const [name, found] of this.#wanted)
        if (this.model(name)) {
          this.#wanted.delete(name);
          found();
        }
      this.dispatchEvent(new Event("change"));
    } catch {
      // The question for jobs, which follows, says what is wrong.
    }
    this.#loading = false;
  }

  // Resolves when the list of models has a new one, which the server describes first.
  modelReady(name) {
    if (this.model(name)) return Promise.resolve();
    return new Promise((found) => this.#wanted.set(name, found));
  }

  job(id) {
    return this.jobs?.find((job) => job.id === id) ?? null;
  }

  model(name) {
    return this.models?.find((model) => model.name === name) ?? null;
  }

  onChange(listener) {
    this.addEventListener("change", listener);
    if (this.jobs || this.error) listener();
  }
}

export const store = new Store();

export function active(job) {
  return ACTIVE.has(job.status);
}

export const canContinue = (job) => ["stopped", "failed"].includes(job.status);

export function statusText(job) {
  if (job.status === "queued")
    return job.place > 1 ? `In the queue, place ${job.place}` : "Next in the queue";
  return job.status[0].toUpperCase() + job.status.slice(1);
}

export function titleOf(job) {
  const { model, system, folder_name: folder } = job.settings ?? {};
  if (system) return `${system.toUpperCase()}${folder ? ` on ${folder}` : ""}`;
  if (job.kind === "compare") return "Comparison";
  return store.model(model)?.title || model || job.kind;
}

export function file(job, test) {
  return job.files?.find((each) => test.test(each.name)) ?? null;
}

export const video = (job) => file(job, /^(?!difference).*\.(mp4|webm|mov)$/);
