import type { Codec, Frame } from './codec.js';

const MAX_DEPTH = 100;

/** Grows as it is written. */
class Writer {
  private _bytes = new Uint8Array(256);
  private _view = new DataView(this._bytes.buffer);
  private _at = 0;
  private _depth = 0;

  done(): Uint8Array {
    return this._bytes.slice(0, this._at);
  }

  value(value: any): void {
    switch (typeof value) {
      case 'boolean':
        return this._byte(value ? 0xc3 : 0xc2);
      case 'number':
        return Number.isSafeInteger(value) && !Object.is(value, -0) ? this._integer(value) : this._float(value);
      case 'bigint':
        return this._bigint(value);
      case 'string':
        return this._string(value);
      case 'object':
        return value === null ? this._byte(0xc0) : this._nested(value);
      default: // as JSON: what has no form is null
        this._byte(0xc0);
    }
  }

  private _nested(value: any): void {
    if (++this._depth > MAX_DEPTH) throw new RangeError(`nested deeper than ${MAX_DEPTH}`);
    if (typeof value.toJSON === 'function') this.value(value.toJSON());
    else if (value instanceof ArrayBuffer) this._binary(new Uint8Array(value));
    else if (ArrayBuffer.isView(value)) this._binary(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    else if (Array.isArray(value)) {
      this._head(value.length, 0x90, 15, 0, 0xdc);
      for (const item of value) this.value(item);
    } else {
      const keys = Object.keys(value).filter((key) => value[key] !== undefined && typeof value[key] !== 'function');
      this._head(keys.length, 0x80, 15, 0, 0xde);
      for (const key of keys) {
        this._string(key);
        this.value(value[key]);
      }
    }
    this._depth--;
  }

  /** A length: in the first byte, or after it in 8 (where that exists), 16 or 32 bits. */
  private _head(length: number, fix: number, fixMax: number, code8: number, code16: number): void {
    if (length <= fixMax) this._byte(fix | length);
    else if (code8 && length < 0x100) this._int(code8, 1, length);
    else if (length < 0x10000) this._int(code16, 2, length);
    else this._int(code16 + 1, 4, length);
  }

  private _string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this._head(bytes.length, 0xa0, 31, 0xd9, 0xda);
    this._raw(bytes);
  }

  private _binary(bytes: Uint8Array): void {
    this._head(bytes.length, 0, -1, 0xc4, 0xc5);
    this._raw(bytes);
  }

  private _integer(value: number): void {
    if (value >= -32 && value < 128) this._byte(value & 0xff);
    else if (value >= 0) {
      if (value < 0x100) this._int(0xcc, 1, value);
      else if (value < 0x10000) this._int(0xcd, 2, value);
      else if (value < 0x100000000) this._int(0xce, 4, value);
      else this._bigint(BigInt(value));
    } else if (value >= -0x80) this._int(0xd0, 1, value);
    else if (value >= -0x8000) this._int(0xd1, 2, value);
    else if (value >= -0x80000000) this._int(0xd2, 4, value);
    else this._bigint(BigInt(value));
  }

  private _bigint(value: bigint): void {
    if (BigInt.asUintN(64, value) !== value && BigInt.asIntN(64, value) !== value) throw new RangeError('an integer over 64 bits');
    this._byte(value < 0 ? 0xd3 : 0xcf);
    const at = this._room(8);
    this._view.setBigUint64(at, BigInt.asUintN(64, value));
  }

  private _float(value: number): void {
    this._byte(0xcb);
    const at = this._room(8);
    this._view.setFloat64(at, value);
  }

  private _byte(value: number): void {
    const at = this._room(1);
    this._view.setUint8(at, value);
  }

  private _int(code: number, bytes: number, value: number): void {
    this._byte(code);
    const at = this._room(bytes);
    if (bytes === 1) this._view.setUint8(at, value);
    else if (bytes === 2) this._view.setUint16(at, value);
    else this._view.setUint32(at, value);
  }

  private _raw(bytes: Uint8Array): void {
    const at = this._room(bytes.length);
    this._bytes.set(bytes, at);
  }

  /** Makes room, which may replace the array and its view, and says where it begins. */
  private _room(count: number): number {
    const at = this._at;
    this._at += count;
    if (this._at > this._bytes.length) {
      const larger = new Uint8Array(this._at * 2);
      larger.set(this._bytes);
      this._bytes = larger;
      this._view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** Reads one value; every length is checked against what is there before anything is allocated. */
class Reader {
  at = 0;
  private _view: DataView;
  private _depth = 0;

  constructor(private _bytes: Uint8Array) {
    this._view = new DataView(_bytes.buffer, _bytes.byteOffset, _bytes.byteLength);
  }

  value(): any {
    const code = this._uint(1);
    if (code < 0x80) return code;
    if (code < 0x90) return this._map(code & 15);
    if (code < 0xa0) return this._array(code & 15);
    if (code < 0xc0) return this._string(code & 31);
    if (code >= 0xe0) return code - 256;
    if (code >= 0xcc && code <= 0xcf) return code === 0xcf ? this._big(false) : this._uint(1 << (code - 0xcc));
    if (code >= 0xd0 && code <= 0xd3) return this._signed(code - 0xd0);
    if (code >= 0xd9 && code <= 0xdb) return this._string(this._uint(1 << (code - 0xd9)));
    if (code >= 0xc4 && code <= 0xc6) return this._take(this._uint(1 << (code - 0xc4))).slice();
    switch (code) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return code === 0xc3;
      case 0xca:
        return this._view.getFloat32(this._skip(4));
      case 0xcb:
        return this._view.getFloat64(this._skip(8));
      case 0xdc:
      case 0xdd:
        return this._array(this._uint(code === 0xdc ? 2 : 4));
      case 0xde:
      case 0xdf:
        return this._map(this._uint(code === 0xde ? 2 : 4));
    }
    throw new RangeError(`MessagePack type 0x${code.toString(16)} is not supported`);
  }

  private _signed(power: number): number | bigint {
    if (power === 3) return this._big(true);
    const bytes = 1 << power;
    const value = this._uint(bytes);
    const limit = 2 ** (bytes * 8);
    return value >= limit / 2 ? value - limit : value;
  }

  private _big(signed: boolean): number | bigint {
    const at = this._skip(8);
    const value = signed ? this._view.getBigInt64(at) : this._view.getBigUint64(at);
    const small = Number(value);
    return Number.isSafeInteger(small) ? small : value;
  }

  private _uint(bytes: number): number {
    const at = this._skip(bytes);
    if (bytes === 1) return this._view.getUint8(at);
    return bytes === 2 ? this._view.getUint16(at) : this._view.getUint32(at);
  }

  private _string(length: number): string {
    return new TextDecoder('utf-8', { fatal: true }).decode(this._take(length));
  }

  private _array(length: number): any[] {
    this._enter(length);
    const list = [];
    while (length-- > 0) list.push(this.value());
    this._depth--;
    return list;
  }

  private _map(length: number): Record<string, any> {
    this._enter(length * 2);
    const map: Record<string, any> = {};
    while (length-- > 0) {
      const key = String(this.value());
      const value = this.value();
      if (key === '__proto__') Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
      else map[key] = value;
    }
    this._depth--;
    return map;
  }

  private _enter(items: number): void {
    if (++this._depth > MAX_DEPTH) throw new RangeError(`nested deeper than ${MAX_DEPTH}`);
    if (items > this._bytes.length - this.at) throw new RangeError('cut off');
  }

  private _take(length: number): Uint8Array {
    const at = this._skip(length);
    return this._bytes.subarray(at, at + length);
  }

  private _skip(count: number): number {
    const at = this.at;
    if (count > this._bytes.length - at) throw new RangeError('cut off');
    this.at += count;
    return at;
  }
}

/** MessagePack bytes of a JSON-like value; binary stays binary. */
export function encode(value: unknown): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  return writer.done();
}

/** @throws RangeError or TypeError when the bytes are not exactly one value without extension types. */
export function decode(bytes: Uint8Array): any {
  const reader = new Reader(bytes);
  const value = reader.value();
  if (reader.at !== bytes.length) throw new RangeError('bytes left over');
  return value;
}

/** `spark.v1.msgpack`: binary frames. Payloads may hold `Uint8Array`. */
export function msgpack(): Codec {
  return {
    protocol: 'spark.v1.msgpack',
    encode,
    decode: (bytes) => decode(new Uint8Array(bytes as ArrayBuffer)) as Frame,
  };
}
