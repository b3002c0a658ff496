#include "core/store.hpp"

#include "core/descriptor.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

namespace rooster {
namespace {

// Another process has the file only while one server takes over from another.
constexpr int kBusyMilliseconds = 2000;

std::unexpected<Error> failed(sqlite3* connection, std::string_view what) {
  return fail(Fault::Internal, std::string(what) + ": " + sqlite3_errmsg(connection));
}

}  // namespace

// ---- Statement

void Statement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Statement::Statement(sqlite3* connection, sqlite3_stmt* statement)
    : connection_(connection), statement_(statement) {}

void Statement::check(int code) {
  if (code != SQLITE_OK && bind_error_ == SQLITE_OK) bind_error_ = code;
}

Statement& Statement::bind(std::int64_t number) {
  check(sqlite3_bind_int64(statement_.get(), next_parameter_++, number));
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  check(sqlite3_bind_text64(statement_.get(), next_parameter_++, text.data() ? text.data() : "",
                            text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind(std::span<const std::uint8_t> blob) {
  check(sqlite3_bind_blob64(statement_.get(), next_parameter_++,
                            blob.data() != nullptr ? static_cast<const void*>(blob.data()) : "",
                            blob.size(), SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind(std::nullopt_t) {
  check(sqlite3_bind_null(statement_.get(), next_parameter_++));
  return *this;
}

Result<bool> Statement::step() {
  if (bind_error_ != SQLITE_OK) {
    auto error = fail(Fault::Internal, std::string("bind: ") + sqlite3_errstr(bind_error_));
    reset();
    return error;
  }
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  auto error = failed(connection_, sqlite3_sql(statement_.get()));
  reset();
  return error;
}

Result<> Statement::run() {
  for (;;) {
    const auto row = step();
    if (!row) return fail(row.error());
    if (!*row) return {};
  }
}

void Statement::reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  next_parameter_ = 1;
  bind_error_ = SQLITE_OK;
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string Statement::text(int column) const {
  const auto* const bytes = sqlite3_column_text(statement_.get(), column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::span<const std::uint8_t> Statement::blob(int column) const {
  const void* const bytes = sqlite3_column_blob(statement_.get(), column);
  if (bytes == nullptr) return {};
  return {static_cast<const std::uint8_t*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

// ---- Store

void Store::Close::operator()(sqlite3* connection) const {
  sqlite3_close_v2(connection);
}

Store::Store(std::unique_ptr<sqlite3, Close> connection, std::string file)
    : connection_(std::move(connection)), file_(std::move(file)) {}

Result<Store> Store::open(const std::string& file) {
  // SQLite's own files take the mode of this one.
  const Descriptor made(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!made) return fail(Fault::Internal, file + ": " + std::strerror(errno));
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(file.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<sqlite3, Close> connection(raw);
  if (code != SQLITE_OK) return fail(Fault::Internal, file + ": " + sqlite3_errstr(code));
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  Store store(std::move(connection), file);
  // NORMAL loses at most the last transactions at a power cut, never the file (sqlite.org/wal).
  if (auto set = store.run("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                           "PRAGMA foreign_keys = ON");
      !set) {
    return fail(Fault::Internal, file + ": " + set.error().detail +
                                     "; if it is no database, move it away and start again");
  }
  return store;
}

Result<> Store::migrate(std::span<const std::string_view> steps) {
  const auto version = prepare("PRAGMA user_version");
  if (!version) return fail(version.error());
  const auto row = (*version)->step();
  if (!row) return fail(row.error());
  const auto have = static_cast<std::size_t>((*version)->integer(0));
  (*version)->reset();
  if (have > steps.size()) {
    return fail(Fault::Internal, file_ + ": is of a newer version (" + std::to_string(have) +
                                     "); start the rooster that wrote it");
  }
  for (std::size_t i = have; i < steps.size(); ++i) {
    Transaction step(*this);
    if (auto done = run(steps[i]); !done) return done;
    if (auto done = run("PRAGMA user_version = " + std::to_string(i + 1)); !done) return done;
    if (auto done = step.commit(); !done) return done;
  }
  return {};
}

Result<> Store::run(std::string_view sql) {
  const std::string text(sql);
  if (sqlite3_exec(connection_.get(), text.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return failed(connection_.get(), file_);
  }
  return {};
}

Result<Statement*> Store::prepare(std::string_view sql) {
  const auto known = statements_.find(sql);
  if (known != statements_.end()) return &known->second;
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return failed(connection_.get(), sql);
  return &statements_.try_emplace(std::string(sql), connection_.get(), statement).first->second;
}

// ---- Transaction

Transaction::~Transaction() {
  if (begun_ && !is_over_) static_cast<void>(store_.run("ROLLBACK"));
}

Result<> Transaction::commit() {
  if (!begun_) return begun_;
  auto done = store_.run("COMMIT");
  is_over_ = done.has_value();
  return done;
}

}  // namespace rooster
