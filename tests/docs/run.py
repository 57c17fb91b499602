#!/usr/bin/env python3
"""Runs the code blocks of the documents word for word.

A block is run when the line before it is an HTML comment `<!-- run: NAME -->`. Blocks of one
document run in order; `<!-- run: background READY -->` starts a process and waits until READY
appears in its output; `<!-- run: file PATH -->` writes the block there. Shell blocks run with bash,
python blocks with python3, js with node, rust blocks as examples of crates/client. Without arguments all
documents are run, else those that are named.
"""
import os, re, signal, subprocess, sys, tempfile, threading, time, pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md"] + sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"<!-- run: (?P<how>[^>]+?) -->\n```(?P<lang>\w+)\n(?P<code>.*?)```", re.S)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)#\s]+)(#[^)]*)?\)")
passed, failed = 0, []


def venv():
    """A Python with the packages that the documents name."""
    folder = ROOT / "target" / "docs-venv"
    python = folder / "bin" / "python3"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if subprocess.run([str(python), "-c", "import websockets"], stderr=subprocess.DEVNULL).returncode:
        subprocess.run([str(python), "-m", "pip", "install", "-q", "websockets==15.0.1"], check=True)
    return folder / "bin"


def node_modules():
    folder = ROOT / "target" / "docs-node"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "ws").exists():
        (folder / "package.json").write_text('{"private":true}')
        subprocess.run(["npm", "install", "--silent", "ws@8"], cwd=folder, check=True)
    return folder


def wait_for(process, text, seconds):
    seen = []
    found = threading.Event()

    def read():
        for line in process.stdout:
            seen.append(line)
            if text in line:
                found.set()
    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + seconds
    while not found.wait(0.05):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{text!r} did not appear; saw: {''.join(seen)}")


def expect(how, done):
    """The block succeeded and printed what its comment says."""
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    expected = re.search(r"prints (.+)", how)
    if expected and expected[1] not in done.stdout:
        raise RuntimeError(f"expected {expected[1]!r}, got {done.stdout + done.stderr!r}")


def run_document(name, env):
    global passed
    text = (ROOT / name).read_text()
    background = []
    scratch = tempfile.mkdtemp(prefix="docs-")
    try:
        for match in BLOCK.finditer(text):
            how, lang, code = match["how"], match["lang"], match["code"]
            title = f"{name}: {how}: {code.strip().splitlines()[0][:60]}"
            try:
                if how.startswith("file "):
                    path = ROOT / how.split(" ", 1)[1]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(code)
                elif how.startswith("background "):
                    process = subprocess.Popen(["bash", "-ec", code], cwd=ROOT, env=env, text=True,
                                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                               start_new_session=True)
                    background.append(process)
                    wait_for(process, how.split(" ", 1)[1], 900)
                elif lang == "rust":
                    example = ROOT / "crates" / "client" / "examples" / "block_of_the_documents.rs"
                    example.parent.mkdir(exist_ok=True)
                    example.write_text(code)
                    try:
                        expect(how, subprocess.run(
                            ["cargo", "run", "--locked", "--quiet", "-p", "sparkway-client", "--example", example.stem],
                            cwd=ROOT, env=env, text=True, capture_output=True, timeout=900))
                    finally:
                        example.unlink()
                else:
                    suffix, command = {
                        "sh": (".sh", ["bash", "-e"]), "bash": (".sh", ["bash", "-e"]),
                        "python": (".py", ["python3"]), "js": (".mjs", ["node"]),
                    }[lang]
                    folder = node_modules() if lang == "js" else pathlib.Path(scratch)
                    script = folder / f"block{suffix}"
                    script.write_text(code)
                    cwd = ROOT if lang in ("sh", "bash") else folder
                    expect(how, subprocess.run(command + [str(script)], cwd=cwd, env=env, text=True,
                                               capture_output=True, timeout=120))
                passed += 1
                print(f"ok   {title}")
            except Exception as error:  # noqa: BLE001 - every failure is reported the same way
                failed.append(title)
                print(f"FAIL {title}\n{error}")
                return
    finally:
        for process in background:
            os.killpg(process.pid, signal.SIGTERM)
        for process in background:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                failed.append(f"{name}: a background process did not end on SIGTERM")


def check_links(name):
    global passed
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(), flags=re.S)
    for match in LINK.finditer(text):
        target = match["target"]
        if "://" in target or target.startswith("mailto:"):
            continue
        if (ROOT / name).parent.joinpath(target).exists():
            passed += 1
        else:
            failed.append(f"{name}: link to {target}")


def main():
    env = dict(os.environ)
    env["PATH"] = f"{venv()}:{env['PATH']}"
    for name in sys.argv[1:] or DOCUMENTS:
        check_links(name)
        run_document(name, env)
    for title in failed:
        print(f"failed: {title}")
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed or passed == 0 else 0)


main()
