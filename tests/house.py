"""Which room may import which, and which file which third-party package."""

from __future__ import annotations

# Room -> the rooms it may import. A room is a module or a package directly inside layerprobe.
_BASE = {"errors", "addresses", "layers"}
_FORMULAS = {"loss_reader", "loss_expression"}
_READS = {*_BASE, *_FORMULAS, "sources", "sinks", "backend", "modelfile"}
ALLOWED = {
    **{
        room: set()
        for room in "errors addresses finite interrupts memory stages timing units".split()
    },
    "reductions": {"errors"},
    "misses": {"errors", "addresses"},
    "layers": {"errors", "addresses", "misses"},
    "modelfile": _BASE,
    "sources": _BASE,
    "sinks": {*_BASE, "units"},
    "backend": {*_BASE, *_FORMULAS, "modelfile", "reductions"},
    "fit": {*_BASE, "sources"},
    "seen": {"errors", "finite"},
    "feed": {*_BASE, "finite", "fit", "seen", "sources"},
    "synthetic": _BASE,
    "shards": {"errors"},
    "options": {*_BASE, "reductions", "shards", "sources"},
    "scales": set(),
    **{room: {"errors", "loss_expression"} for room in _FORMULAS},
    "passes": {*_BASE, *"backend options scales".split()},
    "preparing": {*_BASE, *"backend feed options passes scales sinks".split()},
    "batches": {*_BASE, "sinks", "feed", "finite", "passes"},
    "batch_size": {*_BASE, *"feed memory passes synthetic".split()},
    "grouping": {*_BASE, *"batch_size batches feed memory options passes preparing units".split()},
    "probing": {*_BASE, *"batches feed options passes scales sinks".split()},
    "counts": {"batches", "finite", "sinks"},
    "disk_passes": {*_BASE, *"grouping options outputs pipeline report shards sinks units".split()},
    "report": {*_READS, *"feed batches counts probing timing".split()},
    "summary": {"counts", "report", "sinks", "units"},
    "live": {*_READS, "options"},
    "checks": {*_BASE, *"batches feed memory options sinks modelfile".split()},
    "conversion": {*_READS, *"live options synthetic".split()},
    "inputs": {*_BASE, *"checks feed modelfile options synthetic".split()},
    "outputs": {*_BASE, *"batches feed inputs modelfile options shards sinks".split()},
    "pipeline": {
        *_READS,
        *"live feed inputs options passes batches grouping memory preparing probing report".split(),
        *"counts outputs resuming checks scales shards timing".split(),
    },
    "resuming": {*_BASE, *"sinks feed options".split()},
    "running": {
        *_BASE,
        *"sinks feed batches checks counts report resuming pipeline stages timing".split(),
    },
    "recomputing": {
        *_BASE,
        *"batches dump feed finite options pipeline resuming seen sinks sources".split(),
    },
    "parts": {"errors", "dump", "resuming", "sinks"},
    "merging": {"errors", "dump", "parts", "report", "resuming", "sinks"},
    "epochs": {"feed", "batches", "stages"},
    "targets": {*_BASE, "sources", "backend", "feed", "loss_expression"},
    "training": {*_READS, *"feed inputs options live epochs targets".split(), *_FORMULAS},
    "dump": {*_BASE, "sinks"},
    "api": {
        *_READS,
        *"feed options live pipeline report dump targets training conversion".split(),
    },
    "extraction": {
        *_READS,
        *"disk_passes feed merging options pipeline report resuming running shards".split(),
    },
    "confinement": {"errors", "units"},
    "commands": {
        "",
        *"backend confinement errors interrupts memory modelfile reductions report".split(),
        *"resuming screen summary".split(),
    },
    "cli": {*" api errors interrupts backend screen commands".split(" ")},
    "screen": {"modelfile"},
    "testing": {"sources", "sinks", "backend"},
    "": {
        *"errors layers api backend dump extraction merging modelfile".split(),
        *"recomputing report training".split(),
    },
    "__main__": {"cli", "commands", "confinement", "errors"},
}
# For annotations alone, never at run time: the report describes a plan, which it is made from;
# the screen shows what others found out.
ALLOWED_FOR_TYPES = {"report": {"pipeline"}, "screen": {"backend", "dump"}}

# Third-party package -> the files that may import it. Everybody may import NumPy.
THIRD_PARTY = {
    "click": {
        "cli.py",
        "screen.py",
        *(f"commands/{c}.py" for c in "audit confined convert data_options doctor extract".split()),
        *(f"commands/{c}.py" for c in "list_layers merge resume running show train verify".split()),
    },
    "yaml": {"modelfile/architecture.py"},
    "rich": {"screen.py"},
    "PIL": {"sources/images.py"},
    "pyarrow": {"sources/csv_files.py", "sources/parquet.py", "sources/tables.py"},
    "h5py": {
        "modelfile/hdf5.py",
        "modelfile/keras_zip.py",
        "modelfile/hdf5_entries.py",
        "sources/hdf5.py",
        "sinks/skeleton.py",
        "sinks/manifest.py",
        "dump/chunks.py",
        "dump/files.py",
        "backend/archive_weights.py",
        "backend/weights.py",
    },
    "keras": {
        "backend/compat.py",
        "backend/compat_calls.py",
        "backend/compat_openvino.py",
        "backend/compat_operations.py",
        "backend/compat_state.py",
        "backend/finite.py",
        "backend/insides.py",
        "backend/loading.py",
        *(
            f"backend/legacy/{name}.py"
            for name in """__init__ activations arranging axes convolutions cropping foreign former
            functions local masking merging normalization operations pooling recurrent
            upsampling""".split()
        ),
        "backend/named.py",
        "backend/narrowing.py",
        "backend/phase.py",
        "backend/reductions.py",
        "backend/rows.py",
        "backend/steps.py",
        "backend/suite.py",
        "backend/update_suite.py",
        "backend/archive_weights.py",
        "backend/bundle_weights.py",
        "backend/own_classes.py",
        "backend/plain.py",
        "backend/weights.py",
        "backend/torch.py",
        *(
            f"backend/keras2/{name}.py"
            for name in """aliases arithmetic arranging channels convolutions deferred images loops
            losses printing randomness settings transposed values""".split()
        ),
    },
    "tensorflow": {"backend/tensorflow.py", "dump/tensorflow.py"},
    "jax": {"backend/jax.py", "backend/jax_zeros.py"},
    "torch": {
        *("backend/torch.py", "backend/torch_graph.py", "backend/torch_pass.py"),
        "dump/torch.py",
    },
    "openvino": {"backend/openvino.py"},
    "ml_dtypes": {"backend/values.py", "sinks/numbers.py"},
    "numcodecs": {"sinks/codecs.py"},
    "google_crc32c": {"sinks/crc32c.py"},
    "zlib_ng": {"sinks/numbers.py", "sinks/tail.py"},
    "xxhash": {"seen.py"},
    "pytest": {"sources/suite.py", "sinks/suite.py", "backend/suite.py", "backend/update_suite.py"},
}
WITHOUT_NUMPY = {
    *("errors", "addresses", "layers", "interrupts", "options", "stages", "cli", "commands"),
    "confinement",
    *("screen", "loss_expression", "loss_reader"),
}
