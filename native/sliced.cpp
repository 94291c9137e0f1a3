#include "sliced.hpp"

#include <algorithm>

#include "threads.hpp"

namespace nnla {
namespace {

// A run column of so many rows is cheaper than these entries in gathered columns (one contiguous load against
// 16 gathered ones); a gathered column of so many rows is cheaper than single entries.
constexpr int kRunRows = 6;
constexpr int kGatherRows = 5;
constexpr std::size_t kPartSlices = 4096;  // slices that one thread lays out at a time
constexpr int kSampleEvery = 61;           // one slice in so many decides whether runs are looked for at all
constexpr double kRunShare = 0.05;

inline void convert(double value, double* out) { *out = value; }
inline void convert(double value, float* out) { *out = static_cast<float>(value); }
inline void convert(double value, bfloat16* out) {
    const float single = static_cast<float>(value);
    std::uint32_t bits;
    std::memcpy(&bits, &single, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        bits |= 0x00400000u;  // keep a NaN a NaN
    } else {
        bits += 0x7fffu + ((bits >> 16) & 1u);  // round to nearest, ties to even
    }
    out->bits = static_cast<std::uint16_t>(bits >> 16);
}

// The layout of one slice, decided once and used to count and to fill.
struct Layout {
    std::vector<std::int32_t> constants, runs;  // offsets
    std::vector<double> scalars;
    std::vector<std::int32_t> offsets;  // candidates while deciding
    std::vector<std::uint16_t> hits;
};

class Slicer {
  public:
    Slicer(const Csr& A, const double* scale, bool look_for_runs)
        : A_(A), scale_(scale), look_for_runs_(look_for_runs) {}

    double value(std::int64_t row, std::int32_t k) const {
        const double a = A_.data[k];
        return scale_ == nullptr ? a : (scale_[row] * scale_[A_.indices[k]]) * a;
    }

    // Offsets shared by enough rows of the slice, split into constant and varying values.
    void find_runs(std::int64_t row0, int rows, Layout& out) const {
        out.constants.clear();
        out.runs.clear();
        out.scalars.clear();
        if (!look_for_runs_) return;
        candidates(row0, rows, out.offsets);
        out.hits.assign(out.offsets.size(), 0);
        for (int lane = 0; lane < rows; ++lane) {
            std::size_t c = 0;
            const std::int32_t row = static_cast<std::int32_t>(row0 + lane);
            for (std::int32_t k = A_.indptr[row]; k < A_.indptr[row + 1]; ++k) {
                const std::int32_t offset = A_.indices[k] - row;
                while (c < out.offsets.size() && out.offsets[c] < offset) ++c;
                if (c == out.offsets.size()) break;
                if (out.offsets[c] == offset) ++out.hits[c++];
            }
        }
        std::size_t kept = 0;
        for (std::size_t c = 0; c < out.offsets.size(); ++c)
            if (out.hits[c] >= std::min(kRunRows, rows)) {
                out.hits[kept] = out.hits[c];
                out.offsets[kept++] = out.offsets[c];
            }
        out.offsets.resize(kept);
        for (std::size_t c = 0; c < kept; ++c) {
            double common;
            if (out.hits[c] == kLanes && is_constant(row0, out.offsets[c], &common)) {
                out.constants.push_back(out.offsets[c]);
                out.scalars.push_back(common);
            } else {
                out.runs.push_back(out.offsets[c]);
            }
        }
    }

    // Visits the entries of a row: on_run(index of the constant or run, value, is constant) or on_rest(k).
    template <class OnRun, class OnRest>
    void visit(std::int64_t row, const Layout& layout, OnRun on_run, OnRest on_rest) const {
        std::size_t c = 0, r = 0;
        for (std::int32_t k = A_.indptr[row]; k < A_.indptr[row + 1]; ++k) {
            const std::int32_t offset = A_.indices[k] - static_cast<std::int32_t>(row);
            while (c < layout.constants.size() && layout.constants[c] < offset) ++c;
            if (c < layout.constants.size() && layout.constants[c] == offset) continue;
            while (r < layout.runs.size() && layout.runs[r] < offset) ++r;
            if (r < layout.runs.size() && layout.runs[r] == offset)
                on_run(r, k);
            else
                on_rest(k);
        }
    }

  private:
    // The offsets of the first, middle and last row: an offset that many rows share is in one of them nearly
    // always, and missing one costs speed only.
    void candidates(std::int64_t row0, int rows, std::vector<std::int32_t>& out) const {
        out.clear();
        const int lanes[] = {0, rows / 2, rows - 1};
        for (int i = 0; i < 3; ++i) {
            if (i > 0 && lanes[i] == lanes[i - 1]) continue;
            const std::int64_t row = row0 + lanes[i];
            const std::size_t middle = out.size();
            for (std::int32_t k = A_.indptr[row]; k < A_.indptr[row + 1]; ++k)
                out.push_back(A_.indices[k] - static_cast<std::int32_t>(row));
            std::inplace_merge(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(middle), out.end());
            out.erase(std::unique(out.begin(), out.end()), out.end());
        }
    }

    bool is_constant(std::int64_t row0, std::int32_t offset, double* common) const {
        for (int lane = 0; lane < kLanes; ++lane) {
            const std::int64_t row = row0 + lane;
            const std::int32_t* from = A_.indices + A_.indptr[row];
            const std::int32_t* to = A_.indices + A_.indptr[row + 1];
            const std::int32_t* at = std::lower_bound(from, to, static_cast<std::int32_t>(row) + offset);
            const double v = value(row, static_cast<std::int32_t>(at - A_.indices));
            if (lane == 0)
                *common = v;
            else if (!(v == *common))
                return false;
        }
        return true;
    }

    Csr A_;
    const double* scale_;
    bool look_for_runs_;
};

bool worth_looking_for_runs(const Csr& A, const double* scale) {
    const Slicer slicer(A, scale, true);
    Layout layout;
    std::size_t in_runs = 0, entries = 0;
    const std::int64_t slices = (A.n + kLanes - 1) / kLanes;
    for (std::int64_t s = 0; s < slices; s += slices > 16 * kSampleEvery ? kSampleEvery : 1) {
        const std::int64_t row0 = s * kLanes;
        const int rows = static_cast<int>(std::min<std::int64_t>(kLanes, A.n - row0));
        slicer.find_runs(row0, rows, layout);
        in_runs += layout.constants.size() * kLanes;
        for (int lane = 0; lane < rows; ++lane)
            slicer.visit(row0 + lane, layout, [&](std::size_t, std::int32_t) { ++in_runs; }, [](std::int32_t) {});
        entries += static_cast<std::size_t>(A.indptr[row0 + rows] - A.indptr[row0]);
    }
    return static_cast<double>(in_runs) > kRunShare * static_cast<double>(entries);
}

// The slices of one part, laid out by one thread.
template <class V> struct Part {
    std::vector<Slice> heads;  // offsets within the part
    std::vector<V> scalars, values, tail_values;
    std::vector<std::int32_t> deltas, wides, tail_columns;
    std::vector<std::int16_t> shorts;
    std::vector<std::uint8_t> tail_lanes;
    std::vector<std::int32_t> lowest, highest;  // columns touched by each slice
};

template <class V> void lay_out(const Slicer& slicer, const Csr& A, std::int64_t first, std::int64_t last, Part<V>& out) {
    Layout layout;
    std::vector<std::int32_t> rest[kLanes];
    const std::size_t entries = static_cast<std::size_t>(A.indptr[std::min(last * kLanes, A.n)] - A.indptr[first * kLanes]);
    out.values.reserve(entries + entries / 8 + 16 * kLanes);
    for (std::int64_t s = first; s < last; ++s) {
        const std::int64_t row0 = s * kLanes;
        const int rows = static_cast<int>(std::min<std::int64_t>(kLanes, A.n - row0));
        slicer.find_runs(row0, rows, layout);
        Slice head{};
        head.scalar = static_cast<std::uint32_t>(out.scalars.size());
        head.delta = static_cast<std::uint32_t>(out.deltas.size());
        head.value = static_cast<std::uint32_t>(out.values.size() / kLanes);
        head.shorts = static_cast<std::uint32_t>(out.shorts.size() / kLanes);
        head.wide = static_cast<std::uint32_t>(out.wides.size() / kLanes);
        head.tail = static_cast<std::uint32_t>(out.tail_columns.size());

        // -- constants and runs
        head.constants = static_cast<std::uint32_t>(layout.constants.size());
        head.runs = static_cast<std::uint32_t>(layout.runs.size());
        for (double v : layout.scalars) {
            out.scalars.emplace_back();
            convert(v, &out.scalars.back());
        }
        out.deltas.insert(out.deltas.end(), layout.constants.begin(), layout.constants.end());
        out.deltas.insert(out.deltas.end(), layout.runs.begin(), layout.runs.end());
        const std::size_t run_values = out.values.size();
        out.values.resize(run_values + layout.runs.size() * kLanes, V{});
        std::int32_t lowest = static_cast<std::int32_t>(row0), highest = static_cast<std::int32_t>(row0);
        for (int lane = 0; lane < rows; ++lane) {
            const std::int64_t row = row0 + lane;
            rest[lane].clear();
            if (A.indptr[row] < A.indptr[row + 1]) {
                lowest = std::min(lowest, A.indices[A.indptr[row]]);
                highest = std::max(highest, A.indices[A.indptr[row + 1] - 1]);
            }
            slicer.visit(
                row, layout,
                [&](std::size_t r, std::int32_t k) {
                    convert(slicer.value(row, k), &out.values[run_values + r * kLanes + static_cast<std::size_t>(lane)]);
                },
                [&](std::int32_t k) { rest[lane].push_back(k); });
        }
        out.lowest.push_back(lowest);
        out.highest.push_back(highest);

        // -- gathered columns: as many as enough rows have, those with short offsets first
        std::size_t width = 0;
        for (;; ++width) {
            int having = 0;
            for (int lane = 0; lane < rows; ++lane) having += rest[lane].size() > width;
            if (having < std::min(kGatherRows, rows) || having == 0) break;
        }
        for (int wide = 0; wide < 2; ++wide)
            for (std::size_t j = 0; j < width; ++j) {
                std::int32_t offsets[kLanes];
                bool fits = true;
                for (int lane = 0; lane < kLanes; ++lane) {
                    const bool has = lane < rows && j < rest[lane].size();
                    offsets[lane] = has ? A.indices[rest[lane][j]] - static_cast<std::int32_t>(row0 + lane) : 0;
                    // padding reads x of its own row; of rows after the last it reads the guard
                    fits = fits && offsets[lane] >= -32768 && offsets[lane] <= 32767;
                }
                if (fits == (wide == 1)) continue;
                for (int lane = 0; lane < kLanes; ++lane) {
                    const bool has = lane < rows && j < rest[lane].size();
                    out.values.emplace_back();
                    convert(has ? slicer.value(row0 + lane, rest[lane][j]) : 0.0, &out.values.back());
                    if (wide == 1)
                        out.wides.push_back(offsets[lane]);
                    else
                        out.shorts.push_back(static_cast<std::int16_t>(offsets[lane]));
                }
                ++(wide == 1 ? head.wide_count : head.short_count);
            }

        // -- what sticks out
        for (int lane = 0; lane < rows; ++lane)
            for (std::size_t j = width; j < rest[lane].size(); ++j) {
                out.tail_values.emplace_back();
                convert(slicer.value(row0 + lane, rest[lane][j]), &out.tail_values.back());
                out.tail_columns.push_back(A.indices[rest[lane][j]]);
                out.tail_lanes.push_back(static_cast<std::uint8_t>(lane));
                ++head.tails;
            }
        out.heads.push_back(head);
    }
}

template <class T> std::size_t total(const std::vector<Part<T>>& parts, std::size_t (*size)(const Part<T>&)) {
    std::size_t sum = 0;
    for (const auto& part : parts) sum += size(part);
    return sum;
}

template <class T> void copy_to(Array<T>& target, std::size_t at, const std::vector<T>& source) {
    if (!source.empty()) std::memcpy(target.data() + at, source.data(), source.size() * sizeof(T));
}

}  // namespace

template <class V> Sliced<V>::Sliced(const Csr& A, const double* scale) : n_(A.n) {
    const std::int64_t slices = (A.n + kLanes - 1) / kLanes;
    const std::size_t count = (static_cast<std::size_t>(slices) + kPartSlices - 1) / kPartSlices;
    const Slicer slicer(A, scale, worth_looking_for_runs(A, scale));
    std::vector<Part<V>> parts(count);
    parallel(static_cast<int>(count), [&](int p) {
        const std::int64_t first = p * static_cast<std::int64_t>(kPartSlices);
        lay_out(slicer, A, first, std::min<std::int64_t>(slices, first + kPartSlices), parts[static_cast<std::size_t>(p)]);
    });

    // -- the parts behind one another
    struct Offsets {
        std::size_t scalars = 0, values = 0, tails = 0, deltas = 0, wides = 0, shorts = 0;
    };
    std::vector<Offsets> at(count + 1);
    for (std::size_t p = 0; p < count; ++p) {
        at[p + 1].scalars = at[p].scalars + parts[p].scalars.size();
        at[p + 1].values = at[p].values + parts[p].values.size();
        at[p + 1].tails = at[p].tails + parts[p].tail_columns.size();
        at[p + 1].deltas = at[p].deltas + parts[p].deltas.size();
        at[p + 1].wides = at[p].wides + parts[p].wides.size();
        at[p + 1].shorts = at[p].shorts + parts[p].shorts.size();
    }
    const Offsets& all = at[count];
    scalars_ = Array<V>(all.scalars);
    values_ = Array<V>(all.values);
    tail_values_ = Array<V>(all.tails);
    tail_columns_ = Array<std::int32_t>(all.tails);
    tail_lanes_ = Array<std::uint8_t>(all.tails);
    deltas_ = Array<std::int32_t>(all.deltas);
    wides_ = Array<std::int32_t>(all.wides);
    shorts_ = Array<std::int16_t>(all.shorts);
    heads_.resize(static_cast<std::size_t>(slices));
    reach_.resize(static_cast<std::size_t>(slices));
    parallel(static_cast<int>(count), [&](int index) {
        const std::size_t p = static_cast<std::size_t>(index);
        Part<V>& part = parts[p];
        copy_to(scalars_, at[p].scalars, part.scalars);
        copy_to(values_, at[p].values, part.values);
        copy_to(tail_values_, at[p].tails, part.tail_values);
        copy_to(tail_columns_, at[p].tails, part.tail_columns);
        copy_to(tail_lanes_, at[p].tails, part.tail_lanes);
        copy_to(deltas_, at[p].deltas, part.deltas);
        copy_to(wides_, at[p].wides, part.wides);
        copy_to(shorts_, at[p].shorts, part.shorts);
        for (std::size_t s = 0; s < part.heads.size(); ++s) {
            Slice head = part.heads[s];
            head.scalar += static_cast<std::uint32_t>(at[p].scalars);
            head.delta += static_cast<std::uint32_t>(at[p].deltas);
            head.value += static_cast<std::uint32_t>(at[p].values / kLanes);
            head.shorts += static_cast<std::uint32_t>(at[p].shorts / kLanes);
            head.wide += static_cast<std::uint32_t>(at[p].wides / kLanes);
            head.tail += static_cast<std::uint32_t>(at[p].tails);
            heads_[p * kPartSlices + s] = head;
        }
    });

    // -- reach: what slice s reads, and who reads it (the pattern need not be symmetric where zeros are stored)
    for (std::size_t s = 0; s < heads_.size(); ++s) reach_[s] = static_cast<std::uint32_t>(s);
    for (std::size_t s = 0; s < heads_.size(); ++s) {
        const Part<V>& part = parts[s / kPartSlices];
        const auto high = static_cast<std::uint32_t>(part.highest[s % kPartSlices] / kLanes);
        const auto low = static_cast<std::size_t>(part.lowest[s % kPartSlices] / kLanes);
        reach_[s] = std::max(reach_[s], high);
        reach_[low] = std::max(reach_[low], static_cast<std::uint32_t>(s));
    }
    for (std::size_t s = 1; s < heads_.size(); ++s) reach_[s] = std::max(reach_[s], reach_[s - 1]);
}

template <class V> std::size_t Sliced<V>::bytes() const {
    return heads_.size() * sizeof(Slice) + scalars_.bytes() + values_.bytes() + deltas_.bytes() + shorts_.bytes() +
           wides_.bytes() + tail_values_.bytes() + tail_columns_.bytes() + tail_lanes_.bytes();
}

template <class V> std::size_t Sliced<V>::bytes(std::size_t from, std::size_t to) const {
    if (from >= to) return 0;
    const double share = static_cast<double>(to - from) / static_cast<double>(heads_.size());
    return static_cast<std::size_t>(share * static_cast<double>(bytes()));
}

template <class V> typename Sliced<V>::Census Sliced<V>::census() const {
    Census c{};
    for (const Slice& s : heads_) {
        c.constants += std::size_t{kLanes} * s.constants;
        c.runs += std::size_t{kLanes} * s.runs;
        c.shorts += std::size_t{kLanes} * s.short_count;
        c.wides += std::size_t{kLanes} * s.wide_count;
        c.tail += s.tails;
    }
    return c;
}

template class Sliced<double>;
template class Sliced<float>;
template class Sliced<bfloat16>;

}  // namespace nnla
