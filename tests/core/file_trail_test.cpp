#include "core/file_trail.hpp"

#include "core/descriptor.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace rooster {
namespace {

constexpr std::size_t kMegabyte = 1024 * 1024;

class FileTrailTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "rooster-trail-XXXXXX").string();
    file_ = Descriptor(mkstemp(pattern.data()));
    path_ = pattern;
    ASSERT_TRUE(file_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void write_megabytes(FileTrail& trail, int count) {
    const std::string piece(kMegabyte / 4, 'x');
    for (int i = 0; i < 4 * count; ++i) {
      ASSERT_EQ(::write(file_.get(), piece.data(), piece.size()),
                static_cast<ssize_t>(piece.size()));
      trail.wrote(file_.get(), piece.size());
    }
  }
  std::size_t size() const { return std::filesystem::file_size(path_); }

  Descriptor file_;
  std::filesystem::path path_;
};

// How many of the file's pages lie in memory is the kernel's affair (a tmpfs keeps them all): that
// they can be read back whole is ours.
TEST_F(FileTrailTest, LosesNothingOfTheFile) {
  FileTrail trail;
  trail.begin(file_.get());
  write_megabytes(trail, 5);
  ASSERT_EQ(size(), 5 * kMegabyte);
  void* mapped = mmap(nullptr, size(), PROT_READ, MAP_SHARED, file_.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  const std::string_view bytes(static_cast<const char*>(mapped), size());
  EXPECT_EQ(bytes.find_first_not_of('x'), std::string_view::npos);
  munmap(mapped, size());
}

TEST_F(FileTrailTest, GoesOnWhereTheFileWasEmptied) {
  FileTrail trail;
  trail.begin(file_.get());
  write_megabytes(trail, 3);
  ASSERT_EQ(ftruncate(file_.get(), 0), 0);
  ASSERT_EQ(lseek(file_.get(), 0, SEEK_SET), 0);
  write_megabytes(trail, 2);
  EXPECT_EQ(size(), 2 * kMegabyte);
}

TEST_F(FileTrailTest, LeavesAPipeAlone) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Descriptor reader(ends[0]);
  const Descriptor writer(ends[1]);
  FileTrail trail;
  trail.begin(writer.get());
  trail.wrote(writer.get(), 4 * kMegabyte);
}

}  // namespace
}  // namespace rooster
