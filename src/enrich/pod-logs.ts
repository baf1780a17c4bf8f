import { readdir } from 'node:fs/promises';
import path from 'node:path';

/** What the names of kubelet's log files say of a pod, without any API. */
export interface LoggedPod {
  readonly namespace: string;
  readonly name: string;
  /** Absent where the pod has several and none of them is known by this id. */
  readonly container?: string;
}

const NAME = '[a-z\\d](?:[a-z\\d.-]{0,251}[a-z\\d])?';
/** `/var/log/pods/<namespace>_<pod>_<uid>/<container>/` */
const POD_FOLDER = new RegExp(`^(${NAME})_(${NAME})_([a-f\\d-]{32,36})$`);
/** `/var/log/containers/<pod>_<namespace>_<container>-<container id>.log` */
const CONTAINER_LINK = new RegExp(`^(${NAME})_(${NAME})_(${NAME})-([a-f\\d]{64})\\.log$`);

/**
 * kubelet makes a folder for each pod before its containers start, and a link for each container as it starts. Both stay for as
 * long as the pod is there, and a little longer.
 *
 * @param places where the host's /var/log may be; the first one that tells anything is believed
 */
export async function podFromLogs(
  places: readonly string[],
  podUid: string | undefined,
  containerId: string | undefined,
): Promise<LoggedPod | undefined> {
  for (const logs of places) {
    const found = await podFrom(logs, podUid, containerId);
    if (found !== undefined) return found;
  }
  return undefined;
}

async function podFrom(
  logs: string,
  podUid: string | undefined,
  containerId: string | undefined,
): Promise<LoggedPod | undefined> {
  const links = containerId === undefined ? [] : await names(path.join(logs, 'containers'));
  for (const link of links) {
    const [, name, namespace, container, id] = CONTAINER_LINK.exec(link) ?? [];
    if (id === containerId && name && namespace && container) return { namespace, name, container };
  }
  const folders = podUid === undefined ? [] : await names(path.join(logs, 'pods'));
  for (const folder of folders) {
    const [, namespace, name, uid] = POD_FOLDER.exec(folder) ?? [];
    if (uid !== podUid || !namespace || !name) continue;
    const containers = await names(path.join(logs, 'pods', folder));
    const [only] = containers.length === 1 ? containers : [];
    return { namespace, name, ...(only !== undefined && { container: only }) };
  }
  return undefined;
}

/** A folder that is not there has nothing in it. */
async function names(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}
