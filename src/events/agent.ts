import type { FamiliesObserver } from '../metrics/families.ts';
import type { Voice } from './voice.ts';

/** Of the program itself. */
export class AgentEvents implements FamiliesObserver {
  readonly #voice: Voice;

  constructor(voice: Voice) {
    this.#voice = voice;
  }

  started(version: string, node: string): void {
    this.#voice.say('info', 'started', { version, node });
  }

  /** Something is set and means nothing. */
  noted(note: string): void {
    this.#voice.say('info', 'ignored', { note });
  }

  listening(url: string): void {
    this.#voice.say('info', 'listening', { url });
  }

  replacing(program: string, url: string): void {
    this.#voice.say('info', 'listening in place of another program', { program, url });
  }

  /** It goes on without the page, the API and /metrics, or until the port of a replaced program can be had. */
  notListening(reason: string): void {
    this.#voice.say('error', 'not listening', { reason });
  }

  answerFailed(reason: string): void {
    this.#voice.repeat('error', `answer ${reason}`, 'a request could not be answered', { reason });
  }

  tokenNotRenewed(reason: string): void {
    this.#voice.repeat('warn', `token ${reason}`, 'API token not renewed: the one before counts', { reason });
  }

  selfProtectionRefused(reason: string): void {
    this.#voice.say('warn', 'not protected from the OOM killer', { reason });
  }

  leaving(signal: string): void {
    this.#voice.say('info', 'leaving', { signal });
  }

  /** @param left how many incidents each sink has not got */
  drained(left: Readonly<Record<string, number>>, stored: boolean): void {
    const sum = Object.values(left).reduce((total, count) => total + count, 0);
    if (sum === 0) this.#voice.say('info', 'drained: every sink has everything');
    else if (stored) this.#voice.say('warn', 'left in the store for the next start', { ...left });
    else this.#voice.say('error', 'lost: not delivered, and there is no store on disk', { ...left });
  }
}
