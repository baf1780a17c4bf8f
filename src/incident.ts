/**
 * The nouns of this project. This file imports nothing.
 *
 * Names follow OpenTelemetry's semantic conventions where they have one (`process.pid` is `{ process: { pid } }`).
 * Bytes are bytes, times are RFC 3339 in UTC with milliseconds. What is not known is absent, and `unknown` says why.
 * The same shape is published as JSON Schema in `schema/incident-1.json`.
 */

export const INCIDENT_SCHEMA = 'oom-witness.incident/1';

/**
 * `oom_warning`: before a kill. `oom_unseen`: a kernel counter moved and no record was seen. `oom_restart`: a container whose
 * earlier instance was OOM killed, in the words of Kubernetes, runs again; no kill of its own, and only for sinks that ask for it.
 */
export type IncidentKind = 'oom_kill' | 'oom_warning' | 'oom_unseen' | 'oom_restart';

export type Witness = 'kmsg' | 'log' | 'memory.events' | 'docker' | 'containerd' | 'kubernetes';

/** Whose shortage it was. */
export type OomScope = 'cgroup' | 'node' | 'cpuset' | 'mempolicy' | 'sysrq' | 'unknown';

export type LimitOwner = 'container' | 'pod' | 'qos' | 'slice' | 'unit' | 'node';

/**
 * Where a command line comes from, best first: read when the process called exec; read by a scan of /proc;
 * taken over from the parent at fork; read when the kernel had already named the process; only the kernel's
 * 15-byte name (then `command_line` is absent); nothing, because nobody but the cluster saw the kill (then `pid` is 0).
 */
export type CaptureSource = 'exec' | 'scan' | 'inherited' | 'live' | 'kernel-comm' | 'none';

export interface Incident {
  readonly schema: typeof INCIDENT_SCHEMA;
  /** Boot id, colon, sequence number of the first kernel record: the same on every replay. */
  readonly id: string;
  readonly kind: IncidentKind;
  readonly time: string;
  readonly witness: readonly Witness[];
  readonly host: IncidentHost;
  readonly oom: Oom;
  /** The process that the kernel chose; the same as `victims[0].process`. */
  readonly process: Process;
  readonly victims: readonly Victim[];
  /** The kernel's memory statistics of the cgroup or the node, bytes; names as the kernel prints them. */
  readonly memory?: Readonly<Record<string, number>>;
  /** The kernel's table of candidates, bytes. */
  readonly tasks?: readonly Task[];
  readonly container?: Container;
  readonly k8s?: Kubernetes;
  readonly systemd?: Systemd;
  /** What others say of the same kill. The kernel is the witness; these can be wrong. */
  readonly statements?: readonly Statement[];
  /** Path of a missing field -> why it is missing. */
  readonly unknown?: Readonly<Record<string, string>>;
  /** The kernel's lines, control characters as `\xNN`. */
  readonly raw: readonly string[];
}

export interface IncidentHost {
  readonly name: string;
  readonly boot_id?: string;
  readonly kernel?: string;
  /** As in Go and OCI: `amd64`, `arm64`. */
  readonly arch?: string;
}

export interface Oom {
  readonly scope: OomScope;
  readonly constraint?: string;
  /** The cgroup whose limit was hit (`oom_memcg`); absent when the node itself ran out. */
  readonly limit_cgroup?: string;
  readonly limit_owner?: LimitOwner;
  /** Bytes; absent when there is no limit. */
  readonly limit?: number;
  readonly usage?: number;
  readonly failcnt?: number;
  readonly swap_limit?: number;
  readonly swap_usage?: number;
  readonly group_kill: boolean;
  /** Who asked for the memory. */
  readonly trigger?: Trigger;
  /** False: the kernel rate limited the header, so most of `oom` is unknown. */
  readonly header_seen: boolean;
}

export interface Trigger {
  readonly pid?: number;
  readonly name: string;
  readonly gfp_mask?: string;
  readonly order?: number;
  readonly oom_score_adj?: number;
}

export interface Process {
  /** 0: unknown. */
  readonly pid: number;
  readonly parent_pid?: number;
  /** The kernel's name of it (comm), at most 15 bytes, chosen by the process itself. */
  readonly name: string;
  readonly executable?: { readonly path: string };
  /** The arguments joined by one space. */
  readonly command_line?: string;
  readonly command_args?: readonly string[];
  readonly user?: { readonly id: number; readonly name?: string };
  readonly creation_time?: string;
  readonly cgroup?: string;
}

export interface Capture {
  readonly source: CaptureSource;
  /** How long before the kill it was read, ms. */
  readonly age_ms?: number;
  /** The command line was longer than what is kept. */
  readonly truncated: boolean;
  /** How many secrets were taken out. */
  readonly redacted: number;
}

export interface Victim {
  readonly process: Process;
  readonly capture: Capture;
  readonly memory?: VictimMemory;
  readonly oom_score_adj?: number;
}

/** Bytes. */
export interface VictimMemory {
  readonly total_vm?: number;
  readonly anon_rss?: number;
  readonly file_rss?: number;
  readonly shmem_rss?: number;
  readonly page_tables?: number;
  readonly swap?: number;
}

export interface Task {
  readonly pid: number;
  readonly name: string;
  readonly total_vm: number;
  readonly rss: number;
  readonly swap: number;
  readonly oom_score_adj: number;
}

export interface Container {
  readonly id?: string;
  readonly name?: string;
  readonly runtime?: string;
  readonly image?: { readonly name?: string; readonly id?: string };
  /** Where no kubelet made it: whose it is (Compose, Swarm, nerdctl …), and the chosen ones. */
  readonly labels?: Readonly<Record<string, string>>;
}

export interface Kubernetes {
  readonly namespace?: { readonly name: string };
  readonly pod?: {
    readonly name?: string;
    readonly uid?: string;
    readonly resource_version?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly container?: {
    readonly name?: string;
    /** Absent: an ordinary one. */
    readonly kind?: 'init' | 'ephemeral';
    readonly restart_count?: number;
  };
  readonly node?: { readonly name: string };
  readonly deployment?: { readonly name: string };
  readonly statefulset?: { readonly name: string };
  readonly daemonset?: { readonly name: string };
  readonly job?: { readonly name: string };
  readonly cronjob?: { readonly name: string };
  readonly owner?: { readonly kind: string; readonly name: string };
  readonly qos?: string;
  readonly limits?: Readonly<Record<string, string>>;
  readonly requests?: Readonly<Record<string, string>>;
}

export interface Statement {
  readonly by: 'kubernetes' | 'docker' | 'containerd';
  /** Whether it says that the container was OOM killed. */
  readonly agrees: boolean;
  /** In its words: `OOMKilled, exit code 137`. */
  readonly says: string;
  /** RFC 3339: when, in its words, the container ended. */
  readonly time?: string;
}

export interface Systemd {
  readonly unit?: string;
  readonly slice?: string;
  /** Whose session or service manager it belongs to. */
  readonly user?: { readonly id: number };
}
