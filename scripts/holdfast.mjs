#!/usr/bin/env node
// The `holdfast` command: builds if needed, then runs it in this process.
import { build, install } from './prepare.mjs';

install();
build();
await import('../dist/cli/main.js');
