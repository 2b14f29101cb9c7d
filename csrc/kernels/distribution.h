/* distribution.h: the normal, gamma and beta distributions in double precision, each over a variable t on the whole
 * real line: of a gamma distribution the logarithm, of a beta distribution log(x / (1 - x)). So no number underflows
 * near a bound. A probability comes as its two tails, each with its own relative precision. */
#ifndef SV_DISTRIBUTION_H
#define SV_DISTRIBUTION_H

typedef struct {
    double below, above; /* P(T <= t) and P(T > t) */
} sv_tails;

typedef struct sv_distribution {
    const char *name;
    int parameters; /* of these at most two: normal none, gamma its shape, beta a and b */
    sv_tails (*cdf)(const double *p, double t);
    double (*log_density)(const double *p, double t); /* of t */
    double (*quantile)(const double *p, sv_tails u);
} sv_distribution;

extern const sv_distribution sv_distributions[]; /* ends with a NULL name */

double sv_normal_quantile(sv_tails u);
sv_tails sv_normal_tails(double t);
double sv_normal_below(double t); /* the former of the tails */

#endif
