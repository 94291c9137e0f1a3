// The vector loops of conjugate gradients; included after steps_impl.hpp, whose `Lanes` they use.
namespace nnla {
namespace {

using Wide = Lanes<double>;

inline double sum_of(const Wide& v) {
    double lanes[kLanes];
    v.store(lanes);
    double halves[kLanes / 2];
    for (int i = 0; i < kLanes / 2; ++i) halves[i] = lanes[i] + lanes[i + kLanes / 2];
    return ((halves[0] + halves[4]) + (halves[2] + halves[6])) + ((halves[1] + halves[5]) + (halves[3] + halves[7]));
}

double csr_product(const Csr& A, std::int64_t lo, std::int64_t hi, const double* c, double* out) {
    double dot = 0;
    for (std::int64_t row = lo; row < hi; ++row) {
        const std::int32_t end = A.indptr[row + 1];
        std::int32_t k = A.indptr[row];
        double parts[4] = {0, 0, 0, 0};
        for (; k + 4 <= end; k += 4)
            for (int i = 0; i < 4; ++i) parts[i] += A.data[k + i] * c[A.indices[k + i]];
        for (; k < end; ++k) parts[0] += A.data[k] * c[A.indices[k]];
        const double y = (parts[0] + parts[1]) + (parts[2] + parts[3]);
        out[row] = y;
        dot += c[row] * y;
    }
    return dot;
}

void direction(std::size_t lo, std::size_t hi, double beta, const double* u, double* p) {
    const Wide b = Wide::all(beta);
    std::size_t i = lo;
    for (; i + kLanes <= hi; i += kLanes) {
        Wide v = Wide::load(u + i);
        v.add(b, Wide::load(p + i));
        v.store(p + i);
    }
    for (; i < hi; ++i) p[i] = u[i] + beta * p[i];
}

template <bool kBoth, bool kJacobi>
void update_rows(std::size_t lo, std::size_t hi, double beta, double alpha, const double* w, double* p, double* s,
                 double* x, double* r, const double* inverse, double* u, double* sums) {
    const Wide a = Wide::all(alpha), minus = Wide::all(-alpha), b = Wide::all(beta);
    Wide rr = Wide::all(0), ru = Wide::all(0);
    std::size_t i = lo;
    for (; i + kLanes <= hi; i += kLanes) {
        Wide direction, image;
        if (kBoth) {
            direction = Wide::load((kJacobi ? u : r) + i);
            direction.add(b, Wide::load(p + i));
            direction.store(p + i);
            image = Wide::load(w + i);
            image.add(b, Wide::load(s + i));
            image.store(s + i);
        } else {
            direction = Wide::load(p + i);
            image = Wide::load(s + i);
        }
        Wide xi = Wide::load(x + i), ri = Wide::load(r + i);
        xi.add(a, direction);
        ri.add(minus, image);
        xi.store(x + i);
        ri.store(r + i);
        rr.add(ri, ri);
        if (kJacobi) {
            const Wide ui = Wide::times(Wide::load(inverse + i), ri);
            ui.store(u + i);
            ru.add(ri, ui);
        }
    }
    double sum_rr = sum_of(rr), sum_ru = sum_of(ru);
    for (; i < hi; ++i) {
        if (kBoth) {
            p[i] = (kJacobi ? u : r)[i] + beta * p[i];
            s[i] = w[i] + beta * s[i];
        }
        x[i] += alpha * p[i];
        r[i] -= alpha * s[i];
        sum_rr += r[i] * r[i];
        if (kJacobi) {
            u[i] = inverse[i] * r[i];
            sum_ru += r[i] * u[i];
        }
    }
    sums[0] = sum_rr;
    sums[1] = kJacobi ? sum_ru : sum_rr;
}

void update(std::size_t lo, std::size_t hi, double alpha, const double* p, const double* s, double* x, double* r,
            const double* inverse, double* u, double* sums) {
    auto* direction = const_cast<double*>(p);  // not written where kBoth is false
    auto* image = const_cast<double*>(s);
    if (inverse != nullptr)
        update_rows<false, true>(lo, hi, 0, alpha, nullptr, direction, image, x, r, inverse, u, sums);
    else
        update_rows<false, false>(lo, hi, 0, alpha, nullptr, direction, image, x, r, inverse, u, sums);
}

// Without Jacobi u is r itself where it is null, else given (by another preconditioner).
void both(std::size_t lo, std::size_t hi, double beta, double alpha, const double* w, double* p, double* s, double* x,
          double* r, const double* inverse, double* u, double* sums) {
    if (inverse != nullptr) {
        update_rows<true, true>(lo, hi, beta, alpha, w, p, s, x, r, inverse, u, sums);
    } else if (u != nullptr) {
        direction(lo, hi, beta, u, p);
        direction(lo, hi, beta, w, s);
        update_rows<false, false>(lo, hi, 0, alpha, nullptr, p, s, x, r, nullptr, nullptr, sums);
    } else {
        update_rows<true, false>(lo, hi, beta, alpha, w, p, s, x, r, nullptr, nullptr, sums);
    }
}

double dot(std::size_t lo, std::size_t hi, const double* a, const double* b) {
    Wide sum = Wide::all(0);
    std::size_t i = lo;
    for (; i + kLanes <= hi; i += kLanes) sum.add(Wide::load(a + i), Wide::load(b + i));
    double out = sum_of(sum);
    for (; i < hi; ++i) out += a[i] * b[i];
    return out;
}

void triad(std::size_t lo, std::size_t hi, double q, const double* b, const double* c, double* a) {
    for (std::size_t i = lo; i < hi; ++i) a[i] = b[i] + q * c[i];
}

VectorKernels vector_table() { return {&csr_product, &direction, &update, &both, &dot, &triad}; }

}  // namespace
}  // namespace nnla
