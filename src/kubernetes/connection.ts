import type { KubernetesApi } from './api.ts';
import { HttpsApi, type HttpsApiOptions } from './https-api.ts';
import { loadCredentials, type Surroundings } from './kube-config.ts';

export interface ConnectOptions extends Partial<HttpsApiOptions> {
  /** `--kubeconfig` */
  readonly kubeconfig?: string;
}

/**
 * Asks nothing of the server yet.
 *
 * @throws Error with one line that names `--kubeconfig` and the mend
 */
export async function connect(
  { kubeconfig, ...options }: ConnectOptions,
  surroundings: Surroundings = process,
): Promise<KubernetesApi> {
  return new HttpsApi(await loadCredentials(kubeconfig, surroundings), options);
}
