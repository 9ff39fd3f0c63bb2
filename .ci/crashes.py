"""Tells what crashed, and where, from the crash reports of the .NET runtime in a folder."""

import json
import pathlib
import sys

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.crashreport.json")):
    try:
        report = json.loads(path.read_text(errors="replace"))["payload"]
    except ValueError as error:
        print(f"== crash: {path.name} cannot be read: {error}")
        continue

    print(f"== crash of {report.get('process_name')}")
    for thread in report["threads"]:
        if thread.get("crashed") != "true":
            continue

        print(f"thread {thread['native_thread_id']} {thread.get('managed_exception_type', '')} {thread.get('managed_exception_object', '')}")
        for frame in thread["stack_frames"][:60]:
            name = frame.get("method_name") or frame.get("unmanaged_name") or frame.get("native_image_offset", "")
            print(f"  {frame.get('filename') or frame.get('native_module') or ''} {name}")

    # A crash in a native library has no frame of ours: what our threads did then is the next best hint.
    for thread in report["threads"]:
        ours = [name for frame in thread["stack_frames"] if "Cache." in (name := frame.get("method_name") or "").split("(")[0]]
        if ours and thread.get("crashed") != "true":
            print(f"thread {thread['native_thread_id']} was in {' < '.join(name.split('(')[0] for name in ours[:4])}")
