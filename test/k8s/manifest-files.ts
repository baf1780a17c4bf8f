/** The manifests as they stand in `k8s/`, without kustomize: what a unit test can read everywhere. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';

export const MANIFESTS = path.join(import.meta.dirname, '../../k8s');

export interface Labelled {
  readonly matchLabels: Readonly<Record<string, string>>;
}

export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly securityContext?: {
    readonly privileged?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
  };
  readonly volumeMounts?: readonly { readonly name?: string; readonly mountPath: string }[];
  readonly [probe: `${string}Probe`]: {
    readonly httpGet: { readonly path: string; readonly port: string };
    readonly timeoutSeconds?: number;
  };
}

export interface PodSpec {
  readonly serviceAccountName?: string;
  readonly hostNetwork?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly containers: readonly Container[];
  readonly volumes?: readonly { readonly name: string; readonly [kind: string]: unknown }[];
}

/** One document of one file; `spec` and the like are as loose as the kinds are many. */
export interface Manifest {
  readonly file: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: each test knows the kind that it looks at
  readonly [field: string]: any;
}

/** Every YAML document below `k8s/` that is an object of the API. */
export function manifests(): readonly Manifest[] {
  return yamlFiles()
    .flatMap((file) => documents(file).map((document) => ({ file, ...(document as object) }) as Manifest))
    .filter(({ kind }) => kind !== 'Kustomization' && kind !== 'Component');
}

export interface Kustomization {
  /** Its folder, relative to `k8s/`. */
  readonly folder: string;
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly patches?: readonly { readonly path: string }[];
  readonly configMapGenerator?: readonly Generator[];
  readonly secretGenerator?: readonly Generator[];
}

interface Generator {
  readonly name: string;
  readonly literals?: readonly string[];
  readonly files?: readonly string[];
}

export function kustomizations(): readonly Kustomization[] {
  return yamlFiles()
    .filter((file) => path.basename(file) === 'kustomization.yaml')
    .map((file) => ({ folder: path.dirname(file), ...(documents(file)[0] as object) }));
}

function yamlFiles(): string[] {
  return globSync('**/*.yaml', { cwd: MANIFESTS }).sort();
}

function documents(file: string): unknown[] {
  const parsed = parseAllDocuments(readFileSync(path.join(MANIFESTS, file), 'utf8'), { version: '1.1' });
  if (!Array.isArray(parsed)) throw new Error(`${file} is empty`);
  return parsed.map((document) => {
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem !== undefined) throw new Error(`${file}: ${problem.message}`);
    return document.toJS();
  });
}
