// Stands between the S3 store and the real server, passes requests on as they are, and does harm where a test asks for it.
// Looks at every body that passes: its signed SHA-256, its checksum header, and that there is no chunk framing.
import { createHash } from 'node:crypto';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import { crc32 } from 'node:zlib';

/** What befalls one request. */
export type Fault =
  | { readonly do: 'answer'; readonly status: number; readonly code?: string; readonly times?: number }
  /** The connection breaks after that many bytes of the request's body; the server sees nothing of it. */
  | { readonly do: 'reset'; readonly afterBytes?: number }
  /** The server does it, and its answer is lost. */
  | { readonly do: 'lose-answer' }
  | { readonly do: 'cut-answer'; readonly afterBytes: number }
  | { readonly do: 'damage-answer' }
  /** As a server that knows no range requests: what it sends has no range. */
  | { readonly do: 'no-range' }
  | { readonly do: 'damage-request' }
  /** No answer, connection open. */
  | { readonly do: 'stall' }
  | { readonly do: 'stall-answer'; readonly afterBytes: number };

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: http.IncomingHttpHeaders;
  readonly bytes: number;
}

export class FaultProxy {
  readonly seen: SeenRequest[] = [];
  /** What was wrong with what the client sent; to be empty. */
  readonly wrong: string[] = [];
  /** Asked for every request. */
  fault: (request: SeenRequest) => Fault | undefined = () => undefined;
  readonly #server: http.Server;
  readonly #target: number;
  #port = 0;

  constructor(targetPort: number) {
    this.#target = targetPort;
    this.#server = http.createServer((request, response) => this.#serve(request, response));
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: http.IncomingMessage, response: http.ServerResponse): void {
    request.on('error', () => {});
    const url = new URL(request.url ?? '/', 'http://proxy');
    const head = { method: request.method ?? '', path: url.pathname, query: url.searchParams, headers: request.headers, bytes: Number(request.headers['content-length'] ?? 0) };
    this.seen.push(head);
    const fault = this.fault(head);
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (fault?.do === 'reset' && bytes >= (fault.afterBytes ?? 0)) request.socket.destroy();
    });
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      this.#inspect(head, body);
      if (fault?.do === 'reset') request.socket.destroy();
      else if (fault?.do === 'answer') answer(response, fault.status, fault.code);
      else if (fault?.do !== 'stall') this.#pass(request, fault?.do === 'damage-request' ? damaged(body) : body, response, fault);
    });
  }

  #inspect({ method, path, headers }: SeenRequest, body: Buffer): void {
    const where = `${method} ${path}`;
    if (headers['content-encoding'] !== undefined || headers['x-amz-trailer'] !== undefined) this.wrong.push(`${where}: chunk framing`);
    const expect = (name: string, actual: string): void => {
      if (headers[name] !== undefined && headers[name] !== actual) this.wrong.push(`${where}: ${name} is ${String(headers[name])}, the body has ${actual}`);
    };
    expect('x-amz-content-sha256', createHash('sha256').update(body).digest('hex'));
    const crc = Buffer.alloc(4);
    crc.writeUInt32BE(crc32(body));
    expect('x-amz-checksum-crc32', crc.toString('base64'));
    expect('x-amz-checksum-sha256', createHash('sha256').update(body).digest('base64'));
  }

  #pass(request: http.IncomingMessage, body: Buffer, response: http.ServerResponse, fault: Fault | undefined): void {
    const onward = http.request({ host: '127.0.0.1', port: this.#target, method: request.method, path: request.url, headers: request.headers }, (from) => {
      const chunks: Buffer[] = [];
      from.on('data', (chunk: Buffer) => chunks.push(chunk));
      from.on('end', () => {
        if (fault?.do === 'lose-answer') {
          request.socket.destroy();
          return;
        }
        const whole = Buffer.concat(chunks);
        const { 'content-range': contentRange, ...headers } = from.headers;
        const isWhole = fault?.do === 'no-range' && contentRange !== undefined;
        response.writeHead(isWhole ? 200 : (from.statusCode ?? 500), isWhole ? headers : from.headers);
        if (fault?.do === 'cut-answer' || fault?.do === 'stall-answer') {
          response.write(whole.subarray(0, fault.afterBytes), () => { if (fault.do === 'cut-answer') request.socket.destroy(); });
        } else {
          response.end(fault?.do === 'damage-answer' ? damaged(whole) : whole);
        }
      });
    });
    onward.on('error', () => request.socket.destroy());
    onward.end(body);
  }
}

function damaged(body: Buffer): Buffer {
  const copy = Buffer.from(body);
  if (copy.length > 0) copy[copy.length >> 1]! ^= 1;
  return copy;
}

function answer(response: http.ServerResponse, status: number, code: string | undefined): void {
  const text = code === undefined ? '' : `<?xml version="1.0"?><Error><Code>${code}</Code><Message>said by the proxy</Message></Error>`;
  response.writeHead(status, { 'content-type': 'application/xml', 'content-length': text.length });
  response.end(text);
}
