-- a record store as version 0.1 wrote it: one run, an OK and an NG verdict, a challenge
BEGIN TRANSACTION;
CREATE TABLE alarms (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            number INTEGER NOT NULL,
            kind TEXT NOT NULL,
            what TEXT NOT NULL,
            advice TEXT NOT NULL,
            size REAL NOT NULL,
            unit TEXT NOT NULL,
            since TEXT NOT NULL,
            raised TEXT NOT NULL,
            first_frame INTEGER NOT NULL,
            ended TEXT,
            last_frame INTEGER,
            UNIQUE (run_id, number)
        );
CREATE TABLE challenges (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            utc TEXT NOT NULL,
            source TEXT NOT NULL,
            bundle_sha256 TEXT NOT NULL,
            engine_sha256 TEXT NOT NULL,
            threshold REAL NOT NULL,
            passed INTEGER NOT NULL,
            looks TEXT NOT NULL
        );
INSERT INTO "challenges" VALUES(1,'2026-03-14T06:00:00.000000+00:00','camera 0','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee',0.5,1,'[{"kind": "golden", "name": "one.png", "decision": "OK", "score": 0.2, "detail": "fine", "review": false}, {"kind": "seeded", "name": "spot 1 of 2 % on one.png", "decision": "NG", "score": 0.9, "detail": "found", "review": false}]');
CREATE TABLE clock_jumps (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            before_utc TEXT NOT NULL,
            after_utc TEXT NOT NULL,
            last_verdict_id INTEGER NOT NULL,
            put_right_utc TEXT
        );
CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            started_utc TEXT NOT NULL,
            ended_utc TEXT,
            interrupted INTEGER NOT NULL DEFAULT 0,
            source TEXT NOT NULL,
            bundle_path TEXT NOT NULL,
            bundle_sha256 TEXT NOT NULL,
            engine_sha256 TEXT NOT NULL,
            backend TEXT NOT NULL,
            precision TEXT NOT NULL,
            threshold REAL NOT NULL,
            pixel_threshold REAL NOT NULL,
            preprocess_sha256 TEXT NOT NULL,
            software TEXT NOT NULL,
            config TEXT NOT NULL,
            host TEXT NOT NULL
        );
INSERT INTO "runs" VALUES(1,'1bdce72f','2026-03-14T09:00:00.000000+00:00','2026-03-14T09:00:00.000000+00:00',0,'fake camera','bundles/fake','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','fake','int8',2.0,2.0,'933591a5dfa32fb6af8fede92df7ce018d20fa11353971d3e6e393f5d43c3cd8','0.1.0','{}','box');
CREATE TABLE verdicts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            frame_index INTEGER NOT NULL,
            utc TEXT NOT NULL,
            captured_ns INTEGER NOT NULL,
            decision TEXT NOT NULL,
            reason TEXT NOT NULL,
            detail TEXT NOT NULL,
            score REAL,
            threshold REAL NOT NULL,
            wait_ms REAL NOT NULL, preprocess_ms REAL NOT NULL, infer_ms REAL NOT NULL, residual_ms REAL NOT NULL, decide_ms REAL NOT NULL, total_ms REAL NOT NULL,
            regions TEXT NOT NULL,
            bundle_sha256 TEXT NOT NULL,
            engine_sha256 TEXT NOT NULL,
            image_state TEXT NOT NULL,
            image TEXT,
            image_sha256 TEXT,
            image_bytes INTEGER NOT NULL DEFAULT 0,
            overlay TEXT
        , review INTEGER NOT NULL DEFAULT 0);
INSERT INTO "verdicts" VALUES(1,1,0,'2026-03-14T08:00:00.000000+00:00',20400177067572,'OK','below_threshold','score 0.89 <= threshold 2',8.89999985694885253906e-01,2.0,0.069474,0.209852,0.006079,0.000951,0.099498,0.385854,'[]','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','none',NULL,NULL,0,NULL,0);
INSERT INTO "verdicts" VALUES(2,1,1,'2026-03-14T08:00:01.000000+00:00',20400177783638,'NG','above_threshold','score 2.5 > threshold 2',2.5,2.0,0.018928,0.096013,0.003044,0.000831,0.643117,0.761933,'[[10, 8, 6, 4, 24, 2.5]]','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','stored','images/2026-03-14/1-000001-080001+0000-NG.png','ae38503cfb37ba91e8631f555fcb2fb0f5c5ee197912f51b015629ac3e88159c',35070,'images/2026-03-14/1-000001-080001+0000-NG.overlay.jpg',0);
CREATE INDEX verdicts_with_image ON verdicts(id, image_bytes) WHERE image IS NOT NULL;
CREATE INDEX verdicts_by_image ON verdicts(image) WHERE image IS NOT NULL;
CREATE INDEX verdicts_waiting ON verdicts(id) WHERE image_state = 'waiting';
CREATE INDEX verdicts_by_utc ON verdicts(utc);
CREATE INDEX verdicts_not_ok ON verdicts(id) WHERE decision <> 'OK';
CREATE INDEX verdicts_for_review ON verdicts(id) WHERE review;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',1);
INSERT INTO "sqlite_sequence" VALUES('verdicts',2);
INSERT INTO "sqlite_sequence" VALUES('challenges',1);
COMMIT;
PRAGMA user_version = 5;
