// The server's HTTP interface: every call answers with data or throws one sentence.

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const AWAY =
  "The studio's server does not answer. If it was stopped, start it again with “longtake studio”; this page reconnects by itself.";

async function call(method, path, body, signal) {
  const headers = { "X-Longtake": "1" };
  if (body !== undefined && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let response, text;
  try {
    response = await fetch(path, { method, headers, body, signal });
    text = await response.text();
  } catch (error) {
    if (signal?.reason?.name === "AbortError") throw error; // the caller does not want it any more
    throw new ApiError(AWAY, 0);
  }
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    throw new ApiError(`The server answered ${path} with something that is not JSON.`, response.status);
  }
  if (!response.ok)
    throw new ApiError(data?.error ?? `The server answered ${response.status} to ${path}.`, response.status);
  return data;
}

// A training that another command carries out is watched, not a job.
const place = (job) =>
  job.status === "watched" ? `/api/trainings/${encodeURIComponent(job.id)}` : `/api/jobs/${job.id}`;

export const PAGE = 200; // jobs that are listed at once

export const api = {
  models: () => call("GET", "/api/models"),
  estimate: (settings, signal) => call("POST", "/api/estimate", settings, signal),
  create: (kind, settings, changes) => call("POST", "/api/jobs", { kind, settings, changes }),
  jobs: (signal) => call("GET", `/api/jobs?limit=${PAGE}`, undefined, signal),
  older: (id) => call("GET", `/api/jobs?limit=${PAGE}&after=${id}`),
  job: (id) => call("GET", `/api/jobs/${id}`),
  change: (id, changed) => call("POST", `/api/jobs/${id}/change`, changed),
  stop: (id) => call("POST", `/api/jobs/${id}/stop`, {}),
  resume: (id, frames) => call("POST", `/api/jobs/${id}/continue`, frames ? { frames } : {}),
  remove: (id) => call("DELETE", `/api/jobs/${id}`),
  compare: (a, b) => call("POST", "/api/compare", { a, b }),
  footage: () => call("GET", "/api/footage"),
  log: (job, after) => call("GET", `${place(job)}/log?after=${after}`),
  trainings: () => call("GET", "/api/trainings"),
  use: (job, name) => call("POST", `${place(job)}/use`, { export: name }),
  drift: (id) => call("GET", `/api/jobs/${id}/drift`),
  uploads: () => call("GET", "/api/uploads"),
  removeUpload: (id) => call("DELETE", `/api/uploads/${id}`),
  upload: (file) => {
    const form = new FormData();
    form.append("file", file);
    return call("POST", "/api/uploads", form);
  },
  file: (job, name) => `${place(job)}/files/${encodeURIComponent(name)}`,
  frames: (id, after) =>
    `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/jobs/${id}/frames${after === null ? "" : `?after=${after}`}`,
};
